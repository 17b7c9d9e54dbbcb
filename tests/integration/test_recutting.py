"""What is joined from shards is the same artifact however the work was cut."""

import numpy as np
import pytest
from support.small_pipeline import Study, created

from flows import jobs
from mmer_core.config import IndexJob, RobustnessJob
from mmer_core.encoders.features import Features
from mmer_core.store import ArtifactKey

pytestmark = pytest.mark.usefixtures("as_it_was")


def test_features_in_other_shards_are_the_same_features_and_keep_the_model(study: Study) -> None:
    job = study.train_job("flickr8k")
    trained = jobs.train.fn(job)
    key = ArtifactKey.parse(trained.features)
    made, before = study.store.manifest(key), created(study.store)
    expected = Features(study.context.folder(key)).load("train", "context").copy()
    study.store.delete(key)
    encoders = job.encoders.model_copy(update={"shard_size": 16})
    assert jobs.train.fn(job.model_copy(update={"encoders": encoders})) == trained
    after = created(study.store)
    assert {one.kind for one in after if after[one] != before.get(one)} == {"features", "feature-shard"}
    assert len(study.store.manifest(key).shards) > len(made.shards)
    found = Features(study.context.folder(key)).load("train", "context")
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # Other batches round differently, and other tests compare bytes: back to the first cut, whose shards are there.
    study.store.delete(key)
    assert jobs.train.fn(job) == trained
    assert study.store.manifest(key).files == made.files


def test_nothing_that_is_joined_already_is_cut_again(study: Study) -> None:
    job, before = study.train_job("flickr8k"), created(study.store)
    model = str(study.only("model", task="retrieval", family="joint").key)
    for field, flow, kind in (("attack", jobs.robustness, RobustnessJob), ("index", jobs.index, IndexJob)):
        config = getattr(study.config, field).model_copy(update={"shard_size": 1})
        found = flow.fn(kind(trained=model, runtime=job.runtime, **{field: config}))
        assert study.store.manifest(ArtifactKey.parse(found)).inputs["model"] == model
    assert created(study.store) == before

"""Indexes built in shards, against the model's own embeddings and metrics."""

import numpy as np
import pytest
from support.small_pipeline import Study, created

from flows import jobs
from mmer_core.config import IndexConfig, IndexJob
from mmer_core.errors import ConfigError
from mmer_core.retrieval import RetrievalIndex
from mmer_core.retrieval.record import IndexSummary
from mmer_core.store import ArtifactKey

pytestmark = pytest.mark.usefixtures("as_it_was")


def build(study: Study, **settings: object) -> ArtifactKey:
    job = IndexJob(**dict(study.train_job("flickr8k")), index=IndexConfig(**settings))
    return ArtifactKey.parse(jobs.index.fn(job))


def test_recalls_through_an_exact_index_are_the_evaluations(study: Study) -> None:
    for index in study.store.list("index"):
        model = next(one for one in study.store.list("model") if str(one.key) == index.inputs["model"])
        measured = study.made_from("evaluation", "model", model).summary
        summary = index.summary_as(IndexSummary)
        for name, value in summary.protocol.index.items():
            assert value == pytest.approx(measured[name]), name
        assert set(summary.protocol.lost.values()) == {0}
        assert [(one.factory, one.recall) for one in summary.search.values()] == [("Flat", 1), ("Flat", 1)]


def test_a_missing_shard_alone_is_built_again(study: Study) -> None:
    key = build(study, factory="IVF2,SQ8", shard_size=4, recall=0.6)
    manifest = study.store.manifest(key)
    assert len(manifest.shards) > 4
    lost = ArtifactKey.parse(manifest.shards[1])
    files = [(entry.path, entry.sha256) for entry in manifest.files]
    before = created(study.store)
    study.store.delete(key)
    study.store.delete(lost)
    assert build(study, factory="IVF2,SQ8", shard_size=4, recall=0.6) == key
    after = created(study.store)
    assert {one for one in after if after[one] != before.get(one)} == {key, lost}
    assert [(entry.path, entry.sha256) for entry in study.store.manifest(key).files] == files
    protocol = manifest.summary_as(IndexSummary).protocol
    for name, lost_points in protocol.lost.items():
        assert lost_points == pytest.approx(protocol.exact[name] - protocol.index[name])


def test_all_splits_in_shards_are_brute_force(study: Study) -> None:
    """Rows run through the splits, whatever the shards are; a photo finds itself under its own id."""
    key = build(study, split="all", shard_size=7)
    summary = study.store.manifest(key).summary
    prepared = study.store.manifest(ArtifactKey.parse(study.store.manifest(key).inputs["prepared"]))
    assert summary["images"] == sum(prepared.summary["counts"].values())
    index = RetrievalIndex(study.context.folder(key))
    evaluation = study.made_from(
        "evaluation",
        "model",
        study.store.manifest(ArtifactKey.parse(study.store.manifest(key).inputs["model"])),
    )
    images = np.load(study.context.folder(evaluation.key) / "embedding_image.npy")  # of the split test
    hits = [found[0] for found in index.search(images, "image", 1)]
    assert [hit.score for hit in hits] == pytest.approx([1] * len(images), abs=1e-4)
    assert {hit.split for hit in hits} == {"test"}
    assert all(hit.path for hit in hits)
    own = np.concatenate([index.embedding_of("image", hit.id) for hit in hits])
    np.testing.assert_allclose(own, images, atol=1e-4)


def test_an_index_of_a_model_by_its_key(study: Study) -> None:
    """Nothing is trained or measured again, and the same settings make the same index."""
    key = build(study, shard_size=9)
    model = study.store.manifest(key).inputs["model"]
    before = created(study.store)
    job = IndexJob(trained=model[:14], index=IndexConfig(shard_size=9), runtime=study.config.runtime)
    assert jobs.index.fn(job) == str(key)
    assert created(study.store) == before
    other = next(one.key for one in study.store.list("prepared"))
    with pytest.raises(ConfigError, match="is no model"):
        jobs.index.fn(job.model_copy(update={"trained": str(other)}))

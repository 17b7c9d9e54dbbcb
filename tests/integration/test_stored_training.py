"""Trainings whose features do not fit into the memory they are given."""

from pathlib import Path

import pytest
from support.small_pipeline import BEFORE_TRAINING, Study, copy_artifact, digests

from flows.jobs import train
from mmer_core.config import ModelConfig, RuntimeConfig
from mmer_core.matrix import FileRows
from mmer_core.stages import Context

pytestmark = [pytest.mark.integration, pytest.mark.long]


@pytest.mark.parametrize(
    ("dataset", "task", "family"),
    [("emotic", "emotion", "joint"), ("flickr8k", "retrieval", "separate")],
)
def test_a_model_is_the_same_where_its_features_stay_on_disk(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str, task: str, family: str
) -> None:
    read = []
    whole = FileRows.read
    monkeypatch.setattr(FileRows, "read", lambda self, rows: (read.append(len(rows)), whole(self, rows))[1])
    where = RuntimeConfig(store=str(tmp_path / "store"), work=tmp_path / "work", features_gb=0)
    for manifest in study.store.list():
        if manifest.kind in BEFORE_TRAINING:
            copy_artifact(manifest, study.store, Context(where).store)
    job = study.train_job(dataset).model_copy(update={"runtime": where, "model": ModelConfig(family=family)})
    made = Context(where).store.manifest(train.fn(job).artifacts().model)
    expected = study.only("model", task=task, family=family)
    assert read
    assert made.key == expected.key
    assert digests(made) == digests(expected)
    assert not list((tmp_path / "work").glob("model-*"))  # nor what was computed of all of them

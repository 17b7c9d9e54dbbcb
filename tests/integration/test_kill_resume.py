"""A pipeline or a training that is killed again and again ends with the bytes of one that never was."""

import random
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from support.small_pipeline import (
    BEFORE_TRAINING,
    Study,
    copy_artifact,
    created,
    digests,
    one_dataset,
    settings_file,
    start_mmer,
)

from flows import jobs
from mmer_core.config import IndexConfig, IndexJob, ModelConfig, RuntimeConfig, TrainJob
from mmer_core.stages import Context
from mmer_core.store import ArtifactKey, Store, open_store

pytestmark = pytest.mark.long

EPOCHS = 40
COMPARED = ("model", "evaluation", "model-card", "attack-shard", "robustness")


@pytest.mark.integration
def test_killed_in_training_and_in_the_attack(study: Study, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"), cache=tmp_path / "cache")
    for manifest in study.store.list():
        if manifest.kind in BEFORE_TRAINING:
            copy_artifact(manifest, study.store, store)
    work = tmp_path / "work"
    command = ["pipeline", "--config", str(one_dataset(tmp_path, "emotic")), "--families", "joint"]
    command += ["--store", str(tmp_path / "store"), "--work", str(work), "--checkpoint-seconds", "0"]

    kill_when(lambda: any(work.glob("model-*/scratch/0/checkpoint.pt")), command, tmp_path / "first.txt")
    assert _kinds(store) == set(BEFORE_TRAINING)
    assert any(work.glob("model-*/scratch/0/checkpoint.pt"))

    kill_when(lambda: any(store.keys("attack-shard")), command, tmp_path / "second.txt")
    survived = created(store)
    assert {key.kind for key in survived} == {
        *BEFORE_TRAINING,
        "model",
        "evaluation",
        "model-card",
        "network-plan",
        "attack-shard",
    }
    assert [problem for key in survived for problem in store.verify(key)] == []

    process = start_mmer(command, tmp_path / "third.txt")
    process.join(200)
    assert process.exitcode == 0, (tmp_path / "third.txt").read_text()
    assert [path.name for path in work.iterdir() if path.name != "fetched"] == []
    finished = created(store)
    assert survived.items() <= finished.items(), "something that had been published was made again"
    assert len([key for key in finished if key.kind == "attack-shard"]) > len(
        [key for key in survived if key.kind == "attack-shard"]
    )
    for kind in COMPARED:
        made = list(store.list(kind))
        assert made
        for manifest in made:
            assert digests(manifest) == digests(study.store.manifest(manifest.key)), manifest.key
    assert len(list(store.list("model"))) == 1


@pytest.mark.integration
@pytest.mark.parametrize("name", ["emotic", "flickr8k"])
def test_killed_at_three_random_moments_of_a_training(study: Study, name: str, tmp_path: Path) -> None:
    """Emotion and retrieval: the weights at the end are those of a training that nobody disturbed."""
    job = study.train_job(name)
    longer = job.training.model_copy(update={"epochs": EPOCHS, "patience": EPOCHS})
    job = job.model_copy(update={"training": longer, "model": ModelConfig(embedding=64, hidden=32)})
    calm = _elsewhere(study, job, tmp_path / "calm")
    expected = Context(calm.runtime).store.manifest(jobs.train.fn(calm).artifacts().model)
    job = _elsewhere(study, job, tmp_path / "killed")
    store, work = Context(job.runtime).store, job.runtime.work
    command = ["train", "--config", str(settings_file(tmp_path, job))]

    rng = random.Random(name)
    for kill in range(3):
        checkpoints = _Checkpoints(work, wanted=rng.randint(1, EPOCHS // 5))
        kill_when(checkpoints.written, command, tmp_path / f"{kill}.txt", wait=rng.uniform(0, 0.05))
        assert not list(store.list("model")), "it was trained to the end before it could be killed"
    process = start_mmer(command, tmp_path / "last.txt")
    process.join(200)
    assert process.exitcode == 0, (tmp_path / "last.txt").read_text()
    (model,) = store.list("model")
    assert model.key == expected.key
    assert digests(model) == digests(expected)


@pytest.mark.integration
def test_killed_while_an_index_is_built(study: Study, tmp_path: Path) -> None:
    """Only the missing shards are made, and the index has the bytes of one that nobody disturbed."""
    trained = study.only("model", task="retrieval", family="joint")
    settings = IndexConfig(factory="IVF2,SQ8", shard_size=2, recall=0.6)
    found = {}
    for name in ("calm", "killed"):
        runtime = RuntimeConfig(
            store=str(tmp_path / name / "store"), work=tmp_path / name / "work", workers=1
        )
        store = Context(runtime).store
        for key in (*map(ArtifactKey.parse, trained.inputs.values()), trained.key):
            copy_artifact(study.store.manifest(key), study.store, store)
        job = IndexJob(trained=str(trained.key), index=settings, runtime=runtime)
        if name == "killed":
            command = ["index", "--config", str(settings_file(tmp_path, job))]
            kill_when(lambda: len(list(store.keys("index-shard"))) > 2, command, tmp_path / "first.txt")  # noqa: B023
            survived = created(store)
            assert not list(store.keys("index")), "it was built to the end before it could be killed"
        found[name] = store.manifest(ArtifactKey.parse(jobs.index.fn(job)))
    finished = created(store)
    assert survived.items() <= finished.items(), "something that had been published was made again"
    shards = [sum(key.kind == "index-shard" for key in keys) for keys in (survived, finished)]
    assert 2 < shards[0] < shards[1]
    assert found["killed"].key == found["calm"].key
    assert digests(found["killed"]) == digests(found["calm"])


def _elsewhere(study: Study, job: TrainJob, place: Path) -> TrainJob:
    """The same job in a store of its own, which holds what comes before training."""
    task = "emotion" if job.dataset.dataset == "emotic" else "retrieval"
    trained = study.only("model", task=task, family="joint")
    runtime = RuntimeConfig(store=str(place / "store"), work=place / "work", checkpoint_seconds=0)
    for role in ("prepared", "features"):
        copy_artifact(
            study.store.manifest(ArtifactKey.parse(trained.inputs[role])), study.store, Context(runtime).store
        )
    return job.model_copy(update={"runtime": runtime, "prepared": trained.inputs["prepared"]})


class _Checkpoints:
    """Whether a training has written so many checkpoints since this was made."""

    def __init__(self, work: Path, wanted: int) -> None:
        self.work, self.left, self.last = work, wanted, self._time(work)

    def written(self) -> bool:
        time_now = self._time(self.work)
        if time_now != self.last:
            self.last, self.left = time_now, self.left - 1
        return self.left <= 0

    @staticmethod
    def _time(work: Path) -> int:
        return max(
            (path.stat().st_mtime_ns for path in work.glob("model-*/scratch/0/checkpoint.pt")), default=0
        )


def kill_when(happened: Callable[[], bool], command: list[str], output: Path, *, wait: float = 0.0) -> None:
    """Start a command and kill it without warning at the first sign of something, or some seconds later."""
    process: BaseProcess = start_mmer(command, output)
    deadline = time.monotonic() + 120
    while not happened():
        assert process.is_alive(), f"ended before it could be killed: {output.read_text()}"
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.002)
    time.sleep(wait)
    process.kill()
    process.join()
    assert process.exitcode == -9, output.read_text()


def _kinds(store: Store) -> set[str]:
    return {key.kind for key in created(store)}

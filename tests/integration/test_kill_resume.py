"""A pipeline that is killed twice ends with the bytes of one that never was."""

import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from small_pipeline import Study, created, digests, one_dataset, start_mmer

from mmer_core.store import Draft, Manifest, Store, open_store

DONE_ALREADY = ("prepared", "feature-shard", "features")
COMPARED = ("model", "evaluation", "model-card", "attack-shard", "robustness")


@pytest.mark.integration
def test_killed_in_training_and_in_the_attack(study: Study, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"), cache=tmp_path / "cache")
    for manifest in study.store.list():
        if manifest.kind in DONE_ALREADY:
            _copy(manifest, study.store, store)
    work = tmp_path / "work"
    command = ["pipeline", "--config", str(one_dataset(tmp_path, "emotic")), "--families", "joint"]
    command += ["--store", str(tmp_path / "store"), "--work", str(work), "--checkpoint-seconds", "0"]

    _kill_when(lambda: any(work.glob("model-*/scratch/checkpoint.pt")), command, tmp_path / "first.txt")
    assert _kinds(store) == set(DONE_ALREADY)
    assert any(work.glob("model-*/scratch/checkpoint.pt"))

    _kill_when(lambda: any(store.keys("attack-shard")), command, tmp_path / "second.txt")
    survived = created(store)
    assert {key.kind for key in survived} == {
        *DONE_ALREADY,
        "model",
        "evaluation",
        "model-card",
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


def _kill_when(happened: Callable[[], bool], command: list[str], output: Path) -> None:
    """Start the pipeline and kill it without warning at the first sign of something."""
    process: BaseProcess = start_mmer(command, output)
    deadline = time.monotonic() + 120
    while not happened():
        assert process.is_alive(), f"ended before it could be killed: {output.read_text()}"
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.002)
    process.kill()
    process.join()
    assert process.exitcode == -9, output.read_text()


def _copy(manifest: Manifest, source: Store, target: Store) -> None:
    fields = {name: getattr(manifest, name) for name in Draft.model_fields}
    target.publish(source.fetch(manifest.key), Draft(**fields))


def _kinds(store: Store) -> set[str]:
    return {key.kind for key in created(store)}

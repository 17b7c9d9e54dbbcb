"""Stages: skip, resume, and one builder at a time."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import faiss
import numpy as np
import pytest
import torch
from support.small_disk import small_disk

from mmer_core.errors import ConfigError, StoreError
from mmer_core.store import (
    Artifact,
    ArtifactKey,
    Store,
    Workspace,
    already_made,
    open_store,
    run_stage,
    stage_key,
)
from mmer_core.store.locks import only_one
from mmer_core.store.workspace import lock_of, place_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


def test_values_that_were_used_are_in_the_manifest_and_not_in_the_key(store: Store, work: Path) -> None:
    def build(workspace: Workspace) -> Mapping[str, object]:
        (workspace.out / "x.txt").write_text("built")
        for device in ("cpu", "cuda", "cpu"):
            workspace.use({"training": {"rate": 0.1}, "runtime": {"device": device, "sizes": [32]}})
        return {}

    made = run_stage(store, "model", 1, {"rate": None}, {}, build, work=work)
    assert made.key == stage_key("model", {"rate": None}, {}, 1)
    used = {"training": {"rate": 0.1}, "runtime": {"device": ["cpu", "cuda"], "sizes": [32]}}
    assert store.manifest(made.key).used == used


class Builder:
    """Writes one file and counts how often it was asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, workspace: Workspace) -> Mapping[str, object]:
        self.calls += 1
        (workspace.out / "x.txt").write_text("built")
        return {"figure": 1.5}


def test_a_stage_runs_once(store: Store, work: Path) -> None:
    build = Builder()
    inputs = {"data": ArtifactKey("prepared", "ab")}
    first = run_stage(store, "model", 1, {"a": 1}, inputs, build, work=work, seed=4)
    again = run_stage(store, "model", 1, {"a": 1}, inputs, build, work=work)
    assert (build.calls, first.reused, again.reused) == (1, False, True)
    assert first.key == again.key == stage_key("model", {"a": 1}, inputs, 1)
    assert again.summary == {"figure": 1.5}
    assert (again.folder / "x.txt").read_text() == "built"
    assert (again.manifest.seed, again.manifest.inputs) == (4, {"data": "prepared/ab"})
    assert list(work.iterdir()) == []  # neither workspace nor lock is left
    run_stage(store, "model", 2, {"a": 1}, inputs, build, work=work)
    run_stage(store, "model", 1, {"a": 2}, inputs, build, work=work)
    assert build.calls == 3


def test_a_failed_build_publishes_nothing_and_keeps_its_scratch(store: Store, work: Path) -> None:
    def build(workspace: Workspace) -> Mapping[str, object]:
        assert list(workspace.out.iterdir()) == []
        checkpoint = workspace.scratch / "checkpoint"
        if checkpoint.exists():
            (workspace.out / "x").write_text(checkpoint.read_text())
            return {}
        checkpoint.write_text("half way")
        (workspace.out / "half-written").write_text("…")
        raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        run_stage(store, "model", 1, {}, {}, build, work=work)
    assert list(store.list()) == []
    artifact = run_stage(store, "model", 1, {}, {}, build, work=work)
    assert [entry.path for entry in artifact.manifest.files] == ["x"]
    assert (artifact.folder / "x").read_text() == "half way"


def test_of_two_machines_that_build_at_once_the_first_decides(store: Store, tmp_path: Path) -> None:
    together = threading.Barrier(2)

    def run(machine: int) -> Artifact:
        def build(workspace: Workspace) -> Mapping[str, object]:
            together.wait(60)
            (workspace.out / "page").write_text(f"written at second {machine}")
            return {"machine": machine}

        return run_stage(store, "report", 1, {}, {}, build, work=tmp_path / f"machine-{machine}")

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(run, range(2))
    (published,) = store.list()
    assert first.manifest == second.manifest == published
    assert {first.reused, second.reused} == {True, False}
    assert (second.folder / "page").read_text() == f"written at second {published.summary['machine']}"
    assert [path for machine in range(2) for path in (tmp_path / f"machine-{machine}").iterdir()] == []


def _with_torch(file: Path) -> None:
    with file.open("wb") as opened:
        torch.save(torch.zeros(1_000_000), opened)


def _with_faiss(file: Path) -> None:
    index = faiss.IndexFlatL2(1000)
    index.add(np.zeros((1000, 1000), np.float32))
    faiss.write_index(index, str(file))


@pytest.mark.parametrize("write", [_with_torch, _with_faiss, lambda file: np.save(file, np.zeros(1_000_000))])
def test_a_disk_that_fills_while_a_stage_is_built_says_so(
    store: Store, tmp_path: Path, write: Callable[[Path], None]
) -> None:
    """Each library has an error of its own for that, and not every one has the reason in it."""

    def build(workspace: Workspace) -> Mapping[str, object]:
        write(workspace.scratch / "file.npy")
        return {}

    with small_disk(tmp_path / "disk", kibibytes=256) as disk:
        if disk is None:
            pytest.skip("a small disk cannot be mounted here (it takes root)")
        with pytest.raises(StoreError, match=f"{disk.folder}.* the disk is full"):
            run_stage(store, "model", 1, {}, {}, build, work=disk.folder)
    assert list(store.list()) == []


@pytest.mark.parametrize("folder", ["scratch", "of another program"])
def test_what_is_in_the_store_waits_for_no_builder_and_removes_nothing_of_others(
    store: Store, work: Path, folder: str
) -> None:
    made = run_stage(store, "model", 1, {}, {}, Builder(), work=work)
    place = place_of(work, made.key)
    (place / folder).mkdir(parents=True)
    with only_one(lock_of(place)):  # as a builder on this machine holds it, while another machine was faster
        assert already_made(store, made.key, work).reused
        assert place.exists()
    assert run_stage(store, "model", 1, {}, {}, Builder(), work=work).reused
    assert place.exists() == (folder != "scratch")
    assert not lock_of(place).exists()
    assert already_made(store, stage_key("model", {"a": 1}, {}, 1), work) is None


@pytest.mark.timeout(60)  # were the lock kept, this would wait for the orphan's end
def test_a_killed_build_is_taken_over_with_its_scratch(store: Store, work: Path) -> None:
    program = dedent(
        f"""
        import multiprocessing, os, signal, time
        from pathlib import Path
        from mmer_core.store import open_store, run_stage

        def build(workspace):
            (workspace.scratch / "checkpoint").write_text("step 3")
            (workspace.out / "half").write_text("half")
            # An orphan that outlives its parent must not keep the lock.
            orphan = multiprocessing.get_context("fork").Process(target=time.sleep, args=(300,))
            orphan.start()
            print(orphan.pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

        run_stage(open_store({store.url!r}), "model", 1, {{}}, {{}}, build, work=Path({str(work)!r}))
        """
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True
    )
    orphan = int(process.stdout.readline())
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    try:
        assert list(store.list()) == []

        def build(workspace: Workspace) -> Mapping[str, object]:
            assert list(workspace.out.iterdir()) == []
            return {"resumed": (workspace.scratch / "checkpoint").read_text()}

        assert run_stage(store, "model", 1, {}, {}, build, work=work).summary == {"resumed": "step 3"}
    finally:
        os.kill(orphan, signal.SIGKILL)


def slow_build(workspace: Workspace) -> Mapping[str, object]:
    (workspace.out / "pid").write_text(f"{os.getpid()} {time.monotonic_ns()}")
    time.sleep(0.3)
    return {}


def build_in_process(arguments: tuple[str, Path]) -> bool:
    url, work = arguments
    return run_stage(open_store(url), "model", 1, {}, {}, slow_build, work=work).reused


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_of_several_at_once_one_builds_and_the_others_find(store: Store, work: Path, kind: str) -> None:
    arguments = [(store.url, work)] * 4
    if kind == "threads":
        with ThreadPoolExecutor(4) as pool:
            reused = list(pool.map(build_in_process, arguments))
    else:
        # Not forked: a fork of this process, which has threads by now, can inherit a lock that nobody will open.
        with multiprocessing.get_context("forkserver").Pool(4) as pool:
            reused = pool.map(build_in_process, arguments, chunksize=1)
    assert sorted(reused) == [False, True, True, True]
    assert list(work.iterdir()) == []


def test_problems_are_noticed_before_the_build(tmp_path: Path, store: Store, work: Path) -> None:
    build = Builder()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file is where a folder must be"):
        run_stage(open_store(str(tmp_path / "file" / "store")), "model", 1, {}, {}, build, work=work)
    with pytest.raises(StoreError, match="file is where a folder must be"):
        run_stage(store, "model", 1, {}, {}, build, work=tmp_path / "file")
    with pytest.raises(ConfigError):
        run_stage(store, "model", 1, {"x": float("nan")}, {}, build, work=work)
    assert build.calls == 0

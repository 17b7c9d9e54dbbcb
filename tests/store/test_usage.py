"""What a stage says that it took, beside what psutil measured of the same process."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from mmer_core.store import Artifact, Manifest, Workspace, open_store, run_stage
from mmer_core.usage import Meter, Usage, leg

MB = 1_000_000
PROCESS = psutil.Process()


def made(tmp_path: Path, build: Callable[[Workspace], dict]) -> Artifact:
    return run_stage(open_store(str(tmp_path / "store")), "work", 1, {}, {}, build, work=tmp_path / "work")


def usage_of(tmp_path: Path, build: Callable[[Workspace], None]) -> Usage:
    """From the stored manifest of a stage that is built so."""

    def whole(workspace: Workspace) -> dict:
        (workspace.out / "file").write_bytes(b"x")
        build(workspace)
        return {}

    artifact = made(tmp_path, whole)
    usage = artifact.store.manifest(artifact.key).usage
    assert usage is not None
    return usage


def test_cpu_seconds(tmp_path: Path) -> None:
    measured: list[float] = []

    def build(_: Workspace) -> None:
        before = PROCESS.cpu_times()
        end = time.process_time() + 0.5
        while time.process_time() < end:
            sum(range(10_000))
        after = PROCESS.cpu_times()
        measured.append(after.user + after.system - before.user - before.system)

    usage = usage_of(tmp_path, build)
    # The kernel counts in hundredths; storing the artifact comes on top.
    assert measured[0] - 0.03 <= usage.cpu_seconds <= measured[0] + 0.4


def test_peak_memory_is_that_of_the_stage_and_not_of_the_process(tmp_path: Path) -> None:
    most: list[int] = []

    def hungry(_: Workspace) -> None:
        block = np.ones(300 * MB, np.uint8)
        most.append(PROCESS.memory_info().rss)
        time.sleep(0.1)  # it is looked at 50 times a second
        del block

    first = usage_of(tmp_path / "hungry", hungry)
    assert first.peak_memory == pytest.approx(most[0], abs=20 * MB)
    modest = usage_of(tmp_path / "modest", lambda _: None)
    assert modest.peak_memory < first.peak_memory - 200 * MB


def test_bytes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(30 * MB))
    measured: list[tuple[int, int]] = []

    def build(workspace: Workspace) -> None:
        before = PROCESS.io_counters()
        (workspace.out / "half").write_bytes(source.read_bytes()[: 15 * MB])
        after = PROCESS.io_counters()
        measured.append((after.read_chars - before.read_chars, after.write_chars - before.write_chars))

    usage = usage_of(tmp_path, build)
    assert usage.bytes_read is not None
    assert usage.bytes_written is not None
    read, written = measured[0]
    # What is published is hashed, which reads it once more.
    assert usage.bytes_read == pytest.approx(read + 15 * MB, rel=0.05)
    assert usage.bytes_written == pytest.approx(written, rel=0.05)


def test_legs_share_the_whole_time() -> None:
    start = time.perf_counter()
    with Meter() as meter:
        with leg("model"):
            time.sleep(0.05)
            with leg("read"):
                time.sleep(0.03)
        with leg("read"):
            time.sleep(0.02)
        seconds = meter.usage().seconds
    whole = time.perf_counter() - start
    assert seconds.keys() == {"model", "read", "other"}
    assert seconds["model"] >= 0.049
    assert seconds["read"] >= 0.049
    assert sum(seconds.values()) <= whole + 0.001
    assert seconds["other"] <= whole - 0.098


def test_fetching_inputs_is_reading_and_publishing_is_writing(tmp_path: Path) -> None:
    def source(workspace: Workspace) -> dict:
        (workspace.out / "big").write_bytes(bytes(20 * MB))
        return {}

    first = made(tmp_path / "first", source)

    def copied(workspace: Workspace) -> None:
        (workspace.out / "copy").write_bytes((first.folder / "big").read_bytes())

    usage = usage_of(tmp_path / "second", copied)
    assert usage.seconds["read"] > 0
    assert usage.seconds["write"] > 0
    assert "model" not in usage.seconds


def test_it_is_no_part_of_what_an_artifact_is(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(MB))

    def build(workspace: Workspace) -> dict:
        (workspace.out / "file").write_bytes(b"same")
        return {}

    def laborious(workspace: Workspace) -> dict:
        source.read_bytes()
        return build(workspace)

    first, second = made(tmp_path / "a", build).manifest, made(tmp_path / "b", laborious).manifest
    assert first.usage != second.usage
    assert first.content == second.content
    assert Manifest.from_bytes(first.to_bytes(), first.key) == first

"""Encoding that is killed inside a shard goes on from its last step, and ends with the same bits."""

import os
import signal
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import pytest
from support.small_pipeline import digests

from mmer_core.config import EncoderConfig, IngestConfig, RuntimeConfig, SyntheticConfig
from mmer_core.encoders import steps
from mmer_core.encoders.features import FeatureShard
from mmer_core.stages import Context
from mmer_core.stages.features import encode_shard
from mmer_core.stages.ingest import ingest
from mmer_core.store import ArtifactKey

pytestmark = pytest.mark.long

ENCODERS = EncoderConfig(image="packaged:efficientnet_lite0", text="packaged:all-MiniLM-L6-v2", image_size=32)
IMAGES = FeatureShard("train", "context", 0, 10)
TEXTS = FeatureShard("train", "text", 0, 150)

Report = Callable[[float, int, str], None]


def _context(place: Path, report: Report = lambda *_: None) -> Context:
    runtime = RuntimeConfig(
        store=str(place / "store"), work=place / "work", device="cpu", workers=1, batch_size=3
    )
    return Context(runtime, report)


def _encode(place: Path, prepared: ArtifactKey, shard: FeatureShard, kill: bool) -> None:
    """In a process of its own; a step after every batch, and, to be killed, none after the second batch."""
    reports = list[float]()

    def report(done: float, total: int, note: str = "") -> None:
        reports.append(done)
        if kill and len(reports) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    steps.SECONDS = 0
    encode_shard(_context(place, report), ENCODERS, prepared, shard)
    (place / "reports").write_text(" ".join(map(str, reports)))


def _run(*arguments: object) -> int | None:
    processes = get_context("forkserver")
    processes.set_forkserver_preload(["flows.jobs", "flows.results"])
    process = processes.Process(target=_encode, args=arguments, daemon=True)
    process.start()
    process.join(120)
    return process.exitcode


@pytest.mark.integration
@pytest.mark.parametrize(
    ("shard", "again"), [(IMAGES, ["9", "10"]), (TEXTS, ["150"])], ids=["images", "texts"]
)
def test_killed_inside_a_shard(
    shard: FeatureShard, again: list[str], one_thread: None, tmp_path: Path
) -> None:
    context = _context(tmp_path)
    config = IngestConfig(dataset="flickr8k", synthetic=SyntheticConfig(images=60), context_size=32)
    prepared = ingest(context, config).key
    assert _run(tmp_path, prepared, shard, False) == 0
    (whole,) = context.store.list("feature-shard")
    context.store.delete(whole.key)

    assert _run(tmp_path, prepared, shard, True) == -signal.SIGKILL
    assert not context.store.has(whole.key)
    place = context.runtime.work / f"feature-shard-{whole.key.digest}"
    assert {path.suffix for path in (place / "scratch").rglob("*") if path.is_file()} == {".npy"}
    assert list((place / "out").iterdir()) == []

    assert _run(tmp_path, prepared, shard, False) == 0
    assert (tmp_path / "reports").read_text().split() == again
    assert digests(context.store.manifest(whole.key)) == digests(whole)
    assert [path.name for path in context.runtime.work.iterdir() if path.name != "fetched"] == []

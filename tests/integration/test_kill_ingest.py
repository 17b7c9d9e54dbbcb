"""An ingestion that is killed ten times ends with the bytes of one that never was."""

import os
import random
import signal
import threading
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
from support.small_pipeline import digests

from mmer_core.config import IngestConfig, RuntimeConfig, SyntheticConfig
from mmer_core.datasets.synthetic import write_emotic, write_flickr8k
from mmer_core.store import Manifest, open_store

pytestmark = pytest.mark.long

KILLS = 10


def _ingest(config: IngestConfig, place: Path, dies_after: float | None, records: int) -> None:
    """What a killed process runs; shards of 4 photos, so that a small tree has many."""
    from mmer_core.datasets import prepare
    from mmer_core.stages import Context
    from mmer_core.stages.ingest import ingest

    prepare.SHARD = 4
    context = Context(RuntimeConfig(store=str(place / "store"), work=place / "work"))
    if dies_after is not None:
        threading.Thread(target=_die, args=(place, dies_after, records), daemon=True).start()
    ingest(context, config)
    os._exit(0)  # before a murderer who comes too late


def _die(place: Path, seconds: float, records: int) -> None:
    """Kill this process after so many seconds, and not before so many shards are done."""
    time.sleep(seconds)
    while len(_records(place)) < records:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)


def _run(config: IngestConfig, place: Path, dies_after: float | None = None, records: int = 0) -> int | None:
    # Forked from a server that has imported everything, which takes longer than the ingestion.
    processes = get_context("forkserver")
    processes.set_forkserver_preload(["flows.jobs", "flows.results", "mmer_core.stages.ingest"])
    process = processes.Process(target=_ingest, args=(config, place, dies_after, records), daemon=True)
    process.start()
    process.join(120)
    return process.exitcode


def _made(config: IngestConfig, place: Path) -> Manifest:
    assert _run(config, place) == 0
    assert list((place / "work").iterdir()) == []
    (manifest,) = open_store(str(place / "store")).list("prepared")
    return manifest


def _records(place: Path) -> dict[str, tuple[int, int]]:
    """The shards that are done, each with what changes when its record is written again."""
    found = (place / "work").glob("prepared-*/scratch/arrays-*/*.json")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


@pytest.mark.integration
@pytest.mark.parametrize("dataset", ["emotic", "flickr8k"])
def test_killed_ten_times(dataset: str, tmp_path: Path) -> None:
    write = {"emotic": write_emotic, "flickr8k": write_flickr8k}[dataset]
    root = write(tmp_path / "raw", SyntheticConfig(images=80))
    config = IngestConfig.model_validate({"dataset": dataset, "root": root, "body_size": 64})
    undisturbed = _made(config, tmp_path / "undisturbed")

    moments = random.Random(dataset)
    place, kills, most = tmp_path / "killed-0", 0, 0
    done = dict[str, tuple[int, int]]()
    while kills < KILLS:
        # On a busy machine times alone could all fall before the first shard or after the last.
        after = moments.uniform(0, undisturbed.wall_seconds if kills % 2 else 0.05)
        code = _run(config, place, dies_after=after, records=0 if kills % 2 else len(done) + 1)
        if code == 0:  # the next one begins anew
            assert digests(_made(config, place)) == digests(undisturbed)
            place, done = tmp_path / f"killed-{kills}", {}
            continue
        assert code == -signal.SIGKILL
        kills += 1
        survived = _records(place)
        if any(open_store(str(place / "store")).list("prepared")):
            # Published: the records go one after the other, with the work folder.
            done = {name: record for name, record in done.items() if name in survived}
        assert done.items() <= survived.items(), "a shard that was done was done again"
        done, most = survived, max(most, len(survived))
    assert most > 0, "every kill came before the first shard or after the last"
    assert digests(_made(config, place)) == digests(undisturbed)

"""Captioning that is killed goes on with the shards that are missing, and ends with the same captions."""

import time
from pathlib import Path

import pytest
from support.captioner_folders import build
from support.small_pipeline import created, digests, start_mmer

from mmer_core.config import SyntheticConfig
from mmer_core.datasets.synthetic import write_emotic
from mmer_core.store import Store, open_store

pytestmark = pytest.mark.long


@pytest.mark.integration
def test_killed_between_shards(one_thread: None, tmp_path: Path) -> None:
    tree = write_emotic(tmp_path / "tree", SyntheticConfig(images=30))
    (tree / "captions.csv").unlink()
    model = build("blip", tmp_path / "tiny-blip")
    command = ["ingest", "--root", str(tree), "--captioner", f"hf:{model}", "--caption.shard-size", "3"]
    command += ["--caption.max-tokens", "8"]
    command += ["--context-size", "16", "--body-size", "16", "--device", "cpu", "--workers", "2"]

    def arguments(name: str) -> list[str]:
        return [*command, "--store", str(tmp_path / name), "--work", str(tmp_path / f"{name}-work")]

    def store(name: str) -> Store:
        return open_store(str(tmp_path / name), cache=tmp_path / f"{name}-cache")

    _run(arguments("whole"), tmp_path / "whole.txt")
    process = start_mmer(arguments("killed"), tmp_path / "first.txt")
    deadline = time.monotonic() + 120
    while not any((tmp_path / "killed").glob("artifacts/caption-shard/*/manifest.json")):
        assert process.is_alive(), (tmp_path / "first.txt").read_text()
        assert time.monotonic() < deadline, "no shard was captioned"
        time.sleep(0.002)
    process.kill()
    process.join()
    assert process.exitcode == -9
    survived = {key: when for key, when in created(store("killed")).items() if key.kind == "caption-shard"}
    assert survived
    assert not list(store("killed").keys("captions")), "it was killed too late to show anything"

    _run(arguments("killed"), tmp_path / "second.txt")
    finished = created(store("killed"))
    assert survived.items() <= finished.items(), "a shard that had been published was captioned again"
    assert finished.keys() == created(store("whole")).keys()
    assert len([key for key in finished if key.kind == "caption-shard"]) > len(survived)
    for kind in ("caption-shard", "captions", "prepared"):
        for manifest in store("whole").list(kind):
            assert digests(manifest) == digests(store("killed").manifest(manifest.key)), manifest.key


def _run(arguments: list[str], output: Path) -> None:
    process = start_mmer(arguments, output)
    process.join(200)
    assert process.exitcode == 0, output.read_text()

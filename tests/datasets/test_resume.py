"""An ingestion that was stopped goes on with what is missing, and trusts nothing that is not its own."""

from collections import Counter
from pathlib import Path

import pytest

from mmer_core.config import IngestConfig, SyntheticConfig
from mmer_core.datasets import prepare as prepare_module
from mmer_core.datasets.formats import FORMATS
from mmer_core.datasets.formats.emotic import read_emotic
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.photos import photo_reader
from mmer_core.datasets.prepare import prepare

CONFIG = IngestConfig(context_size=32, body_size=16)
SHARD = 5


class Stopped(Exception):
    """As good as a kill for a caller that catches nothing."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def raw(emotic_tree):
    return read_emotic(emotic_tree, captions=None, protocol="corrected")


@pytest.fixture
def attempt(raw, tmp_path, monkeypatch):
    """Prepare into an empty folder and the shared scratch folder, and return which photos were read."""
    monkeypatch.setattr(prepare_module, "SHARD", SHARD)
    read = photo_reader("corrected")

    def run(name: str, *, config: IngestConfig = CONFIG, until: int = 10**6) -> Counter[Path]:
        opened: Counter[Path] = Counter()

        class Counting:
            def squared(self, paths, wanted, use):
                opened.update(paths)
                return read.squared(paths, wanted, use)

        def progress(done: int, total: int, note: str = "") -> None:
            if done > until:
                raise Stopped

        monkeypatch.setattr(prepare_module, "photo_reader", lambda protocol: Counting())
        out, scratch = tmp_path / name, tmp_path / "scratch"
        try:
            prepare(raw, config, out, scratch, workers=1, synthetic=False, progress=progress)
        except Stopped:
            assert until < 10**6
        return opened

    return run


def test_only_missing_shards_are_read_again(raw, attempt, tmp_path):
    whole = attempt("whole")
    (tmp_path / "scratch").rename(tmp_path / "other")
    train = list(dict.fromkeys(sample.image for sample in raw.samples if sample.split == "train"))
    stopped = attempt("stopped", until=3 * SHARD + 1)
    assert set(stopped) >= set(train[: 3 * SHARD + 1])
    rest = attempt("rest")
    assert rest == {photo: 1 for photo in whole if photo not in train[: 3 * SHARD]}
    assert contents(tmp_path / "rest") == contents(tmp_path / "whole")
    assert attempt("again") == {}
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


def test_shards_of_other_arrays_are_left_alone(attempt, tmp_path):
    smaller = CONFIG.model_copy(update={"context_size": 16})
    first = attempt("first", until=4 * SHARD)
    assert first
    everything = attempt("smaller", config=smaller)
    (tmp_path / "scratch").rename(tmp_path / "other")
    assert attempt("fresh", config=smaller) == everything
    assert contents(tmp_path / "smaller") == contents(tmp_path / "fresh")


@pytest.mark.parametrize("pattern", ["*/train_body_arr.npy", "*/train-00002.json"])
def test_records_and_arrays_are_believed_only_together(pattern, attempt, tmp_path):
    everything = attempt("whole")
    for left in (tmp_path / "scratch").glob(pattern):
        left.unlink()
    again = attempt("again")
    assert 0 < len(again) < len(everything)
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


@pytest.mark.parametrize("dataset", ["emotic", "flickr8k"])
def test_drawn_photos_are_used_when_they_are_whole(dataset, tmp_path, monkeypatch):
    drawn = []
    draw = FORMATS[dataset].draw
    monkeypatch.setattr(FORMATS[dataset], "draw", lambda *given: drawn.append(given) or draw(*given))
    fields = {"dataset": dataset, "context_size": 16, "body_size": 16}
    config = IngestConfig(synthetic=SyntheticConfig(images=30), **fields)
    scratch = tmp_path / "scratch"
    ingest(config, tmp_path / "first", scratch, workers=1)
    ingest(config, tmp_path / "second", scratch, workers=1)
    assert len(drawn) == 1
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    photo = next(path for path in (scratch / "raw").rglob("*.jpg"))
    photo.write_bytes(photo.read_bytes()[:-1])
    ingest(config, tmp_path / "third", scratch, workers=1)
    assert len(drawn) == 2
    assert contents(tmp_path / "first") == contents(tmp_path / "third")
    ingest(
        IngestConfig(synthetic=SyntheticConfig(images=30, seed=1), **fields),
        tmp_path / "o",
        scratch,
        workers=1,
    )
    assert len(drawn) == 3

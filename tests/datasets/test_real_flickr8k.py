"""The real Flickr8k, where it lies: a card whose counts are those of the files."""

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mmer_core.config import IngestConfig
from mmer_core.datasets.formats.flickr8k import read_flickr8k
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.prepared import Prepared
from mmer_core.errors import DatasetError

PROJECT = Path(__file__).parents[2]
ROOT = Path(os.environ.get("MMER_FLICKR8K", PROJECT.parent / "shared" / "data" / "flickr8k"))

pytestmark = pytest.mark.skipif(
    not ROOT.is_dir(),
    reason=f"the real Flickr8k is not at {ROOT}: set MMER_FLICKR8K to its folder (it may not be passed on)",
)


@pytest.fixture(scope="module")
def captions() -> Counter[str]:
    """Captions of every photo that is on disk."""
    photos = {path.name for path in (ROOT / "Images").iterdir()}
    with (ROOT / "captions.txt").open(encoding="utf-8", newline="") as handle:
        return Counter(row["image"] for row in csv.DictReader(handle) if row["image"] in photos)


def test_official_splits(captions: Counter[str], tmp_path: Path) -> None:
    config = IngestConfig(dataset="flickr8k", root=ROOT, context_size=32)
    card = ingest(config, tmp_path / "out", tmp_path / "scratch", workers=2)
    listed = {
        split: (ROOT / f"Flickr_8k.{name}Images.txt").read_text().split()
        for split, name in (("train", "train"), ("val", "dev"))
    }
    assert card.counts["train"] == len(listed["train"]) == 6000
    assert card.counts["val"] == len(listed["val"]) == 1000
    assert card.texts["train"] == sum(captions[photo] for photo in listed["train"]) == 30000
    assert card.texts["val"] == sum(captions[photo] for photo in listed["val"]) == 5000
    assert sum(card.counts.values()) + sum(card.quarantined.values()) == card.inputs
    assert sum(card.texts.values()) + sum(card.texts_quarantined.values()) == card.texts_found
    val = Prepared.open(tmp_path / "out").split("val")
    assert set(val.ids) == set(listed["val"])
    assert val.images("context").shape == (1000, 32, 32, 3)
    assert np.bincount(val.text_sample).tolist() == [captions[photo] for photo in val.ids]


def test_notebook_splits(captions: Counter[str]) -> None:
    raw = read_flickr8k(ROOT, splits="notebook")
    assert raw.captions == sum(captions.values())
    sizes = {split: len(samples) for split, samples in raw.by_split().items()}
    train, val = int(0.7 * len(captions)), int(0.15 * len(captions))
    assert sizes == {"train": train, "val": val, "test": len(captions) - train - val}
    short = [row for row in raw.quarantined if row.reason == "caption_short"]
    assert sum(len(sample.texts) for sample in raw.samples) + len(short) == raw.captions


def test_karpathy_splits_need_their_file() -> None:
    if (ROOT / "dataset_flickr8k.json").exists():
        assert sum(map(len, read_flickr8k(ROOT, splits="karpathy").by_split().values())) > 0
    else:
        with pytest.raises(DatasetError, match=r"holds no dataset_flickr8k\.json: add it, or choose"):
            read_flickr8k(ROOT, splits="karpathy")

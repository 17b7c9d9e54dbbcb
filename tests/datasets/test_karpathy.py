"""Karpathy's files, written by hand, and as the reader of Flickr8k understands them."""

import json

import numpy as np
import pytest
from PIL import Image

from mmer_core.config import IngestConfig
from mmer_core.datasets.check import check
from mmer_core.datasets.formats.flickr8k import read_flickr8k
from mmer_core.datasets.formats.karpathy import Karpathy
from mmer_core.datasets.ingest import ingest
from mmer_core.errors import DatasetError

SPLITS = ("train", "restval", "val", "test")


def photo(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(path)


def entry(filename, split, *captions, **fields):
    return {"filename": filename, "split": split, "sentences": [{"raw": one} for one in captions], **fields}


def write(root, images, name="dataset_coco.json"):
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps({"dataset": "coco", "images": images}), encoding="utf-8")


@pytest.fixture
def coco(tmp_path):
    images = [
        entry(
            f"COCO_{place}.jpg", split, f" two dogs\t{place} ", "naïve 狗", filepath="val2014", cocoid=place
        )
        for place, split in enumerate(SPLITS)
    ]
    root = tmp_path / "coco"
    for place, _ in enumerate(images):
        photo(root / "images" / "val2014" / f"COCO_{place}.jpg", place)
    write(root, images)
    return root, images


def test_captions_are_kept_byte_for_byte_in_their_splits(coco):
    root, _ = coco
    raw = Karpathy().read(root)
    assert [(one.id, one.split) for one in raw.samples] == [
        ("val2014/COCO_0.jpg", "train"),
        ("val2014/COCO_1.jpg", "train"),
        ("val2014/COCO_2.jpg", "val"),
        ("val2014/COCO_3.jpg", "test"),
    ]
    assert [text.text for text in raw.samples[0].texts] == [" two dogs\t0 ", "naïve 狗"]
    assert raw.samples[0].image == root / "images" / "val2014" / "COCO_0.jpg"
    assert (raw.name, raw.inputs, raw.captions, raw.quarantined) == ("coco", 4, 8, [])
    without = Karpathy(restval="none").read(root)
    assert [one.reason for one in without.quarantined] == ["no_split", *["caption_photo_quarantined"] * 2]


def test_bad_entries_are_quarantined_and_the_check_agrees(coco, tmp_path):
    root, images = coco
    photo(root / "images" / "broken.jpg", 9)
    (root / "images" / "broken.jpg").write_bytes(b"no picture")
    bad = [
        7,
        entry("COCO_0.jpg", "train", "again", filepath="val2014"),
        entry("../out.jpg", "train", "a text"),
        entry("missing.jpg", "train", "a text"),
        entry("broken.jpg", "train", "a text"),
        entry("COCO_1.jpg", "holdout", "a text"),
        entry("COCO_2.jpg", "train"),
        entry("COCO_2.jpg", "train", "a text", filepath="\ud800"),
        {"filename": "x.jpg", "split": "train", "sentences": [3, {"raw": "\0"}, {"raw": " "}]},
    ]
    write(root, [*images, *bad])
    config = IngestConfig(dataset="karpathy", root=root, context_size=16)
    summary = ingest(config, tmp_path / "prepared", tmp_path / "scratch", workers=1)
    reasons = {
        "malformed_row": 2,
        "duplicate_id": 1,
        "outside": 1,
        "unreadable_image": 1,
        "no_split": 1,
    }
    found = {name: count for name, count in summary.quarantined.items() if not name.startswith("caption_")}
    assert reasons.items() <= found.items()
    assert (summary.inputs, sum(summary.counts.values()), sum(found.values())) == (13, 4, 9)
    checked = check(config, tmp_path / "scratch", workers=1)
    assert (checked.inputs, checked.sound) == (13, 4)


def test_flickr8k_is_read_as_by_its_own_reader(tmp_path):
    images = [entry(f"{place}.jpg", split, "a dog", "a cat") for place, split in enumerate(("train", "val"))]
    for place, _ in enumerate(images):
        photo(tmp_path / "Images" / f"{place}.jpg", place)
    write(tmp_path, images, "dataset_flickr8k.json")
    theirs = read_flickr8k(tmp_path, splits="karpathy")
    assert Karpathy().read(tmp_path).samples == theirs.samples


def test_unusable_folders_are_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"holds no dataset_\*\.json"):
        Karpathy().read(tmp_path)
    write(tmp_path, [entry("a.jpg", "train", "text")])
    with pytest.raises(DatasetError, match="holds none of the first photos"):
        Karpathy().read(tmp_path)
    write(tmp_path, [], "dataset_flickr30k.json")
    with pytest.raises(DatasetError, match=r"dataset_coco\.json and dataset_flickr30k\.json"):
        Karpathy().read(tmp_path)

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from mmer_core.config import SyntheticConfig
from mmer_core.datasets.fingerprint import fingerprint
from mmer_core.datasets.formats.emotic import read_emotic
from mmer_core.datasets.formats.flickr8k import read_flickr8k
from mmer_core.datasets.synthetic import CAPTIONS_FILE, write_emotic, write_flickr8k
from mmer_core.taxonomy import EMOTIC_CATEGORIES, SPLITS


def _people(images):
    return [person for image in images[0] for person in image["person"][0]]


def test_annotations_have_emotics_structure(emotic_tree):
    mat = loadmat(emotic_tree / "Annotations" / "Annotations.mat")
    for split in SPLITS:
        images = mat[split]
        assert images.shape[0] == 1
        assert images.dtype.names == ("filename", "folder", "image_size", "original_database", "person")
        assert images[0, 0]["image_size"].dtype.names == ("n_col", "n_row")
        assert images[0, 0]["original_database"].dtype.names == ("name", "info")
        person = images[0, 0]["person"]
        assert person.shape[0] == 1
        between = () if split == "train" else ("combined_categories",)
        last = () if split == "train" else ("combined_continuous",)
        assert person.dtype.names == (
            "body_bbox", "annotations_categories", *between, "annotations_continuous", *last, "gender", "age",
        )  # fmt: skip
        assert person[0, 0]["body_bbox"].shape == (1, 4)
        assert person[0, 0]["annotations_continuous"].dtype.names == ("valence", "arousal", "dominance")
        annotators = person[0, 0]["annotations_categories"]
        assert annotators.dtype.names == ("categories",)
        assert annotators.shape[1] == 1 if split == "train" else annotators.shape[1] > 1
    cells = [p["annotations_categories"][0, 0]["categories"] for p in _people(mat["train"])]
    assert all(cell.dtype == object and cell.shape[0] == 1 for cell in cells)
    assert any(cell.shape == (1, 1) for cell in cells)


def test_traps_are_there(emotic_tree):
    mat = loadmat(emotic_tree / "Annotations" / "Annotations.mat")
    train, test = mat["train"], mat["test"]
    entries = [image for split in SPLITS for image in mat[split][0]]
    assert {str(e["folder"][0]) for e in entries} == {
        "mscoco/images", "framesdb/images", "emodb_small/images", "ade20k/images",
    }  # fmt: skip
    assert any(np.isnan(p["annotations_continuous"][0, 0]["arousal"]).any() for p in _people(train))
    # The reference converter reads the first row of a cell, which an empty one of 0x0 does not have.
    assert any(p["combined_categories"].shape == (1, 0) for p in _people(test))
    assert all(p["combined_categories"].shape[0] == 1 for p in _people(test))
    assert any(
        p["combined_categories"].size
        and any(a["categories"].size == 0 for a in p["annotations_categories"][0])
        for p in _people(test)
    )
    assert any((p["body_bbox"] < 0).any() for p in _people(train))
    names = [(str(e["folder"][0]), str(e["filename"][0])) for e in entries]
    assert len(set(names)) == len(names)
    assert len({name for _, name in names}) < len(names)
    assert any(e["person"].shape[1] > 1 for e in entries)
    modes, rotated, swapped, broken = set(), 0, 0, 0
    for entry, (folder, name) in zip(entries, names, strict=True):
        with Image.open(emotic_tree / "emotic" / folder / name) as image:
            modes.add(image.mode)
            rotated += image.getexif().get(0x0112, 1) != 1
            size = entry["image_size"][0, 0]
            if folder == "emodb_small/images":
                swapped += (int(size["n_row"][0, 0]), int(size["n_col"][0, 0])) == image.size
            try:
                image.load()
            except OSError:
                broken += 1
    assert {"L", "CMYK", "P", "RGB"} <= modes
    assert (rotated, broken) == (1, 1)
    assert swapped > 0


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path):
    for write in (write_emotic, write_flickr8k):
        prints = [
            fingerprint(
                _without_mat(write(tmp_path / write.__name__ / str(n), SyntheticConfig(images=30, seed=s)))
            )
            for n, s in enumerate((0, 0, 1))
        ]
        assert prints[0] == prints[1] != prints[2]


def _without_mat(root: Path) -> Path:
    # MATLAB files carry the time of writing in their header.
    for path in root.rglob("*.mat"):
        path.write_bytes(path.read_bytes()[128:])
    return root


def test_captions_name_no_category(emotic_tree, flickr_tree):
    forbidden = {part[:6].lower() for name in EMOTIC_CATEGORIES for part in name.split("/")} | {
        "happy",
        "angry",
    }
    for path in (emotic_tree / CAPTIONS_FILE, flickr_tree / "captions.txt"):
        with path.open(newline="") as handle:
            captions = [row["caption"] for row in csv.DictReader(handle)]
        assert len(set(captions)) > 0.8 * len(captions)
        words = {word[:6] for caption in captions for word in re.findall(r"\w+", caption.lower())}
        assert not words & forbidden


def test_every_category_occurs_in_every_split(emotic_tree):
    raw = read_emotic(emotic_tree, captions=None, protocol="corrected")
    for split in SPLITS:
        labels = {label for s in raw.samples if s.split == split for label in s.labels}
        assert labels == set(EMOTIC_CATEGORIES), split


def test_val_and_test_have_more_labels_a_person(emotic_tree):
    raw = read_emotic(emotic_tree, captions=None, protocol="corrected")
    mean = {s: np.mean([len(x.labels) for x in raw.samples if x.split == s]) for s in SPLITS}
    assert mean["train"] + 1 < min(mean["val"], mean["test"])


@pytest.mark.parametrize("split", ["val"])
def test_shuffling_moves_labels_and_nothing_else(tmp_path, emotic_tree, split):
    shuffled = write_emotic(tmp_path, SyntheticConfig(images=60, shuffle_labels=True))
    plain, mixed = (
        read_emotic(r, captions=None, protocol="corrected").samples for r in (emotic_tree, shuffled)
    )
    plain, mixed = ([s for s in samples if s.split == split] for samples in (plain, mixed))
    assert [(s.id, s.box) for s in plain] == [(s.id, s.box) for s in mixed]
    assert [(s.labels, s.vad) for s in plain] != [(s.labels, s.vad) for s in mixed]
    assert sorted((s.labels, s.vad) for s in plain) == sorted((s.labels, s.vad) for s in mixed)


def test_shuffling_moves_captions_among_photos(tmp_path, flickr_tree):
    shuffled = write_flickr8k(tmp_path, SyntheticConfig(images=40, shuffle_labels=True))
    plain, mixed = (
        {s.id: s.texts for s in read_flickr8k(r, splits="official").samples if s.split == "test"}
        for r in (flickr_tree, shuffled)
    )
    assert plain.keys() == mixed.keys()
    assert plain != mixed
    key = str
    assert sorted(plain.values(), key=key) == sorted(mixed.values(), key=key)

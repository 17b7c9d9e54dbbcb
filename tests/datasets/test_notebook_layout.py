"""The arrays of the old Flickr8k notebooks, against a slow converter written from their description."""

import csv
import json
import os
import pickle
import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from mmer_core.config import IngestConfig, SyntheticConfig
from mmer_core.datasets.formats.flickr8k import read_flickr8k
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.notebook_layout import COLUMNS, FOLDER
from mmer_core.datasets.prepared import Prepared
from mmer_core.datasets.synthetic import write_flickr8k

PROJECT = Path(__file__).parents[2]
REAL = Path(os.environ.get("MMER_FLICKR8K", PROJECT.parent / "shared" / "data" / "flickr8k"))
SPLITS = ("train", "val", "test")


def slow(root):
    """Arrays and rows by split, and the vocabulary, one caption after the other."""
    photos = {path.name: cv2.imread(str(path)) for path in root.rglob("*.jpg")}
    with (root / "captions.txt").open(encoding="utf-8", newline="") as handle:
        captions = [(row["image"], row["caption"].strip()) for row in csv.DictReader(handle)]
    names = list(dict.fromkeys(name for name, _ in captions))
    np.random.seed(42)
    order = np.random.permutation(len(names))
    train, val = int(0.7 * len(names)), int(0.15 * len(names))
    split_of = {}
    for place, row in enumerate(order):
        split_of[names[row]] = "train" if place < train else "val" if place < train + val else "test"
    captions = [
        (name, text, re.findall(r"\w+", text.lower()))
        for name, text in captions
        if photos.get(name) is not None and len(re.findall(r"\w+", text)) >= 3
    ]
    captions.sort(key=lambda caption: caption[0])  # the file's order, which is that of names in the real one
    counts = Counter(word for name, _, words in captions if split_of[name] == "train" for word in words)
    vocabulary = {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3}
    for word in sorted(counts, key=lambda word: (-counts[word], word)):
        if counts[word] >= 2:
            vocabulary[word] = len(vocabulary)
    made = {split: {"context": [], "body": [], "cat": [], "csv": []} for split in SPLITS}
    for name, text, words in captions:
        into = made[split_of[name]]
        pixels = cv2.cvtColor(photos[name], cv2.COLOR_BGR2RGB)
        into["context"].append(cv2.resize(pixels, (224, 224)))
        into["body"].append(cv2.resize(pixels, (128, 128)))
        indices = [1] + [vocabulary.get(word, 3) for word in words[:48]] + [2]
        into["cat"].append(indices + [0] * (50 - len(indices)))
        number = sum(row[1] == name for row in into["csv"])
        row = (len(into["csv"]), name, list(pixels.shape[:2]), text, number, len(indices))
        into["csv"].append([str(cell) for cell in row])
    return made, vocabulary


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = write_flickr8k(tmp_path_factory.mktemp("flickr8k"), SyntheticConfig(images=30))
    photo = (root / "captions.txt").read_text(encoding="utf-8").splitlines()[1].split(",")[0]
    with (root / "captions.txt").open("a", encoding="utf-8") as handle:
        handle.write(f"{photo},{' '.join(f'long{n}' for n in range(60))}\n{photo},two words\n")
    return root


def _same(folder, expected, vocabulary):
    assert json.loads((folder / "vocab.json").read_text(encoding="utf-8")) == vocabulary
    for split in SPLITS:
        for name, kind in (("context", np.uint8), ("body", np.uint8), ("cat", np.int64)):
            array = np.load(folder / f"{split}_{name}_arr.npy", allow_pickle=False)
            assert array.dtype == kind
            np.testing.assert_array_equal(array, np.array(expected[split][name]), strict=name != "cat")
        with (folder / f"{split}.csv").open(encoding="utf-8", newline="") as handle:
            header, *rows = csv.reader(handle)
        assert header == list(COLUMNS)
        assert rows == expected[split]["csv"]


@pytest.mark.parametrize("prepared_format", ["npy", "webp"])
def test_every_array_and_row_is_that_of_the_slow_converter(tree, tmp_path, prepared_format):
    config = IngestConfig(dataset="flickr8k", root=tree, protocol="notebook", prepared_format=prepared_format)
    card = ingest(config, tmp_path / "out", tmp_path / "scratch", workers=2)
    assert card.protocol == "notebook"
    assert card.texts_quarantined["caption_short"] >= 1
    expected, vocabulary = slow(tree)
    assert any(row[-1] == "50" for split in expected.values() for row in split["csv"]), "one is cut"
    _same(tmp_path / "out" / FOLDER, expected, vocabulary)
    for split in SPLITS:
        prepared = Prepared.open(tmp_path / "out").split(split)
        assert prepared.streams == ("context",), "jobs see each photo once, and no body"
        assert len(prepared.images("context")) == len(prepared)


def test_the_documented_conversion_makes_the_old_file(tree, tmp_path, monkeypatch):
    config = IngestConfig(dataset="flickr8k", root=tree, protocol="notebook")
    ingest(config, tmp_path / "out", tmp_path / "scratch", workers=1)
    page = (PROJECT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(import json.*?)```", page, re.S)
    assert len([line for line in code.splitlines() if line.strip()]) == 3
    monkeypatch.chdir(tmp_path / "out" / FOLDER)
    exec(code, {})
    loaded = pickle.loads(Path("vocab.pkl").read_bytes())
    assert loaded == json.loads(Path("vocab.json").read_text(encoding="utf-8"))


def test_protocols_belong_to_formats_and_splits():
    assert IngestConfig(dataset="flickr8k", protocol="notebook").splits == "notebook"
    assert IngestConfig(dataset="flickr8k").protocol == "corrected"
    with pytest.raises(ValidationError, match="emotic has no protocol notebook: it has corrected and mat2py"):
        IngestConfig(protocol="notebook")
    with pytest.raises(ValidationError, match="leave --splits out"):
        IngestConfig(dataset="flickr8k", protocol="notebook", splits="official")


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real Flickr8k is not at {REAL}: set MMER_FLICKR8K")
def test_a_part_of_the_real_dataset(tmp_path):
    """200 photos in the layout as downloaded: order, splits, pixels and indices."""
    root = tmp_path / "part"
    (root / "Images").mkdir(parents=True)
    names = sorted(path.name for path in (REAL / "Images").iterdir())[::40]
    for name in names:
        (root / "Images" / name).symlink_to(REAL / "Images" / name)
    with (REAL / "captions.txt").open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.reader(handle) if row[0] in {"image", *names}]
    with (root / "captions.txt").open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows(rows)
    config = IngestConfig(dataset="flickr8k", root=root, protocol="notebook")
    ingest(config, tmp_path / "out", tmp_path / "scratch", workers=2)
    expected, vocabulary = slow(root)
    assert [row[1] for row in expected["train"]["csv"]] == [
        name for name, _ in rows[1:] if name in {row[1] for row in expected["train"]["csv"]}
    ], "the file's order"
    _same(tmp_path / "out" / FOLDER, expected, vocabulary)


def test_the_splits_alone_are_another_protocol(tree):
    assert read_flickr8k(tree, splits="notebook").protocol == "notebook splits"
    assert read_flickr8k(tree, splits="notebook", protocol="notebook").protocol == "notebook"

"""Difficult captions in all three formats of Flickr8k, and the notebooks' and Karpathy's splits."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmer_core.datasets.flickr_captions import Caption, read_captions
from mmer_core.datasets.flickr_splits import assign
from mmer_core.datasets.formats.flickr8k import read_flickr8k
from mmer_core.errors import DatasetError

HARD = [
    "Two dogs , one ball , no rules .",
    'A sign says "stop" , twice .',
    "An emoji 🐕‍🦺 in the snow .",
    "שלום עולם , כלב רץ .",
    "مرحبا بالعالم .",
    "A tab\tand  spaces .",
    "\ufeffA mark in the text .",
    "Line\u2028separator .",
]
LATIN = "A caf\xe9 , outside ."
FORMATS = ["captions.txt", "Flickr8k.token.txt", "dataset_flickr8k.json"]


def _write(root: Path, name: str, captions: list[tuple[str, str]], splits: dict[str, str]) -> Path:
    """The captions as a file of this format, whose last one is Latin-1 and not UTF-8."""
    root.mkdir(exist_ok=True)
    path = root / name
    if name == "captions.txt":
        with path.open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows([("image", "caption"), *captions])
    elif name == "Flickr8k.token.txt":
        lines = [f"{photo}#{number}\t{text}\n" for number, (photo, text) in enumerate(captions)]
        path.write_text("".join(lines), encoding="utf-8")
    else:
        images = [
            {"filename": p, "split": split, "sentences": [{"raw": t} for q, t in captions if q == p]}
            for p, split in splits.items()
        ]
        path.write_text(json.dumps({"images": images}, ensure_ascii=False), encoding="utf-8")
    path.write_bytes(path.read_bytes().replace("caf\xe9".encode(), b"caf\xe9"))
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_hard_captions_come_through(tmp_path, name):
    photos = {f"{number}.jpg": "train" for number in range(len(HARD) + 1)}
    captions = list(zip(photos, [*HARD, LATIN], strict=True))
    _write(tmp_path, name, captions, photos)
    read = {caption.photo: caption.text for caption in read_captions(tmp_path)}
    expected = {photo: " ".join(text.split()).replace("\xe9", "\ufffd") for photo, text in captions}
    assert read == expected


@pytest.mark.parametrize("name", ["captions.txt", "dataset_flickr8k.json"])
def test_newlines_in_captions_become_spaces(tmp_path, name):
    _write(
        tmp_path,
        name,
        [("a.jpg", "One\ntwo\r\nthree ."), ("b.jpg", "After .")],
        {"a.jpg": "val", "b.jpg": "val"},
    )
    read = read_captions(tmp_path)
    assert [(caption.photo, caption.text) for caption in read] == [
        ("a.jpg", "One two three ."),
        ("b.jpg", "After ."),
    ]
    if name == "captions.txt":
        assert [caption.where for caption in read] == ["line 2 of captions.txt", "line 5 of captions.txt"]


@given(st.integers(1, 300), st.integers(1, 5))
def test_notebook_splits_have_the_notebooks_sizes(photos, per_photo):
    captions = [Caption(f"{n}.jpg", "A dog runs", "") for n in range(photos) for _ in range(per_photo)]
    assignment = assign(Path(), captions, "notebook")
    sizes = {split: sum(one == split for one in assignment.values()) for split in ("train", "val", "test")}
    train, val = photos * 70 // 100, photos * 15 // 100
    assert abs(sizes["train"] - train) <= 1  # 0.70 has no exact binary form
    assert abs(sizes["val"] - val) <= 1
    assert sum(sizes.values()) == photos == len(assignment)
    np.random.seed(42)
    order = np.random.permutation(photos)
    in_order = [assignment[f"{n}.jpg"] for n in order]
    assert in_order == sorted(in_order, key=["train", "val", "test"].index)


def test_short_captions_move_no_photo_in_the_notebook_splits(tmp_path):
    (tmp_path / "Images").mkdir()
    names = [f"{n:02}.jpg" for n in range(20)]
    for name in names:
        Image.new("RGB", (4, 4)).save(tmp_path / "Images" / name)
    _write(tmp_path, "captions.txt", [(n, t) for n in names for t in ("A dog runs", "Too short")], {})
    raw = read_flickr8k(tmp_path, splits="notebook")
    assert [s.split for s in raw.samples] == ["train"] * 14 + ["val"] * 3 + ["test"] * 3
    assert {text.text for sample in raw.samples for text in sample.texts} == {"A dog runs"}
    assert [row.reason for row in raw.quarantined] == ["caption_short"] * 20


def test_karpathy_splits_and_their_faults(tmp_path):
    (tmp_path / "Images").mkdir()
    splits = {"a.jpg": "train", "b.jpg": "val", "c.jpg": "test", "d.jpg": "restval"}
    for name in splits:
        Image.new("RGB", (4, 4)).save(tmp_path / "Images" / name)
    path = _write(tmp_path, FORMATS[2], [(name, f"Photo {name} .") for name in splits], splits)
    raw = read_flickr8k(tmp_path, splits="karpathy")
    assert {sample.id: sample.split for sample in raw.samples} == {
        "a.jpg": "train", "b.jpg": "val", "c.jpg": "test",
    }  # fmt: skip
    assert [(row.id, row.reason) for row in raw.quarantined] == [
        ("d.jpg", "no_split"), ("d.jpg#0", "caption_photo_quarantined"),
    ]  # fmt: skip
    images = json.loads(path.read_text())["images"]
    del images[1]["split"]
    images[2]["sentences"].append({"tokens": ["a"]})
    images[3] = None
    images.append({**images[0], "split": "val"})
    path.write_text(json.dumps({"images": images}))
    raw = read_flickr8k(tmp_path, splits="karpathy")
    assert [sample.id for sample in raw.samples] == ["c.jpg"]
    reported = [(row.id, row.reason) for row in raw.quarantined]
    assert ("c.jpg", "caption_malformed") in reported
    assert ("image 3 of dataset_flickr8k.json", "caption_malformed") in reported
    details = {row.id: row.detail for row in raw.quarantined if row.reason == "no_split"}
    assert "image 4 of dataset_flickr8k.json (a.jpg, in train too)" in details["a.jpg"]
    assert details.keys() == {"a.jpg", "b.jpg", "d.jpg"}
    path.write_text(json.dumps({"images": [{"split": "train"}, 7]}))
    with pytest.raises(DatasetError, match=r"image 0 \(it has no filename\), image 1 \(it is no object\)"):
        read_flickr8k(tmp_path, splits="karpathy")

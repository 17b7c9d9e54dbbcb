import csv
import json
from collections import defaultdict

import pytest
from PIL import Image

from mmer_core.datasets.flickr_splits import LISTS
from mmer_core.datasets.formats.flickr8k import read_flickr8k
from mmer_core.errors import DatasetError


def _photos(root, *names):
    (root / "Images").mkdir(parents=True)
    for name in names:
        Image.new("RGB", (8, 8)).save(root / "Images" / name)


def _lists(root, **splits):
    for split, names in splits.items():
        (root / LISTS[split]).write_text("\n".join(names) + "\n")


def test_three_formats_parse_to_the_same_samples(flickr_tree, tmp_path):
    with (flickr_tree / "captions.txt").open(newline="") as handle:
        rows = [(row["image"], row["caption"]) for row in csv.DictReader(handle)]
    by_photo = defaultdict(list)
    for photo, text in rows:
        by_photo[photo].append(text)
    split_of = {}
    for split, name in LISTS.items():
        split_of |= dict.fromkeys((flickr_tree / name).read_text().split(), split)
    results = []
    for kind in ("csv", "token", "json"):
        root = tmp_path / kind
        root.mkdir()
        (root / "Images").symlink_to(flickr_tree / "Images")
        for name in LISTS.values():
            (root / name).symlink_to(flickr_tree / name)
        if kind == "csv":
            (root / "captions.txt").symlink_to(flickr_tree / "captions.txt")
        elif kind == "token":
            lines = [f"{p}#{k}\t{t}\n" for p, texts in by_photo.items() for k, t in enumerate(texts)]
            (root / "Flickr8k.token.txt").write_text("".join(lines))
        else:
            images = [
                {"filename": p, "split": split_of[p], "sentences": [{"raw": t} for t in texts]}
                for p, texts in by_photo.items()
            ]
            (root / "dataset_flickr8k.json").write_text(json.dumps({"images": images}))
            results.append(read_flickr8k(root, splits="karpathy"))
        results.append(read_flickr8k(root, splits="official"))
    keys = [[(s.id, s.split, s.texts) for s in raw.samples] for raw in results]
    assert all(key == keys[0] for key in keys)
    assert {i: s for i, s, _ in keys[0]} == split_of
    assert {i: [t.text for t in texts] for i, _, texts in keys[0]} == by_photo
    assert any('"' in text and "," in text for _, text in rows)


def test_bad_captions_and_photos_are_counted_apart(tmp_path):
    _photos(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    _lists(tmp_path, train=["a.jpg", "d.jpg"], val=["b.jpg", "missing.jpg"])
    (tmp_path / "Flickr8k.token.txt").write_text(
        'a.jpg#0\tA dog .\na.jpg#1\t \na.jpg.1#0\tA trap .\nb.jpg#0\tA cat , "or" two .\nb.jpg#1\tWord\n'
        "c.jpg#0\tIn no list .\nd.jpg#0\t\n"
    )
    raw = read_flickr8k(tmp_path, splits="official")
    assert {s.id: [t.text for t in s.texts] for s in raw.samples} == {
        "a.jpg": ["A dog ."], "b.jpg": ['A cat , "or" two .', "Word"],
    }  # fmt: skip
    reasons = sorted((row.id, row.reason) for row in raw.quarantined)
    assert reasons == [
        ("a.jpg", "caption_empty"), ("a.jpg.1", "caption_unknown_photo"), ("c.jpg", "no_split"),
        ("c.jpg#0", "caption_photo_quarantined"), ("d.jpg", "caption_empty"), ("d.jpg", "no_caption"),
        ("missing.jpg", "no_caption"),
    ]  # fmt: skip
    captions = sum(row.reason.startswith("caption_") for row in raw.quarantined)
    assert raw.inputs == 5 == len(raw.samples) + len(raw.quarantined) - captions
    assert raw.captions == 7 == sum(len(s.texts) for s in raw.samples) + captions


def test_notebook_split_is_70_15_15_by_photo_without_short_captions(flickr_tree):
    raw = read_flickr8k(flickr_tree, splits="notebook")
    sizes = {split: sum(s.split == split for s in raw.samples) for split in LISTS}
    assert sizes == {"train": 28, "val": 6, "test": 6}
    assert [row.reason for row in raw.quarantined] == ["caption_short"]
    assert sum(len(s.texts) for s in raw.samples) == 40 * 5 - 1


def test_captions_without_quotes_and_with_odd_bytes(tmp_path):
    _photos(tmp_path, "a.jpg")
    _lists(tmp_path, test=["a.jpg"])
    (tmp_path / "captions.txt").write_bytes(
        "image,caption\na.jpg,One , two , 🐕 שלום\n".encode() + b"a.jpg,caf\xe9\n"
    )
    (sample,) = read_flickr8k(tmp_path, splits="official").samples
    assert [t.text for t in sample.texts] == ["One , two , 🐕 שלום", "caf\ufffd"]


def test_errors_name_what_is_missing(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        read_flickr8k(tmp_path / "nowhere", splits="official")
    with pytest.raises(DatasetError, match="holds no captions"):
        read_flickr8k(tmp_path, splits="official")
    (tmp_path / "captions.txt").write_text("")
    with pytest.raises(DatasetError, match="is empty"):
        read_flickr8k(tmp_path, splits="official")
    (tmp_path / "captions.txt").write_text("image,caption\n")
    with pytest.raises(DatasetError, match="holds no captions"):
        read_flickr8k(tmp_path, splits="official")
    (tmp_path / "captions.txt").write_text("image,caption\na.jpg,A dog .\n")
    with pytest.raises(DatasetError, match=r"trainImages\.txt.*devImages\.txt.*testImages\.txt"):
        read_flickr8k(tmp_path, splits="official")
    with pytest.raises(DatasetError, match=r"dataset_flickr8k\.json"):
        read_flickr8k(tmp_path, splits="karpathy")
    with pytest.raises(DatasetError, match="none of the captioned photos"):
        read_flickr8k(tmp_path, splits="notebook")
    _lists(tmp_path, train=["a.jpg"], test=["a.jpg"])
    with pytest.raises(DatasetError, match=r"line 1 of Flickr_8k\.testImages\.txt .*keep each in one"):
        read_flickr8k(tmp_path, splits="official")

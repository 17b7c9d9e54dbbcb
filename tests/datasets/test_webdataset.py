"""Shards of WebDataset, written by Python's tarfile."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from mmer_core.config import IngestConfig
from mmer_core.datasets.check import check
from mmer_core.datasets.formats.webdataset import WebDataset
from mmer_core.datasets.ingest import ingest, read_raw
from mmer_core.datasets.prepared import Prepared
from mmer_core.errors import DatasetError


def photo(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def shard(path, *members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def read(root, tmp_path):
    return read_raw(IngestConfig(dataset="webdataset", root=root), tmp_path / "scratch")


def test_texts_are_kept_byte_for_byte_and_shards_may_repeat_keys(tmp_path):
    root = tmp_path / "raw"
    for place, name in enumerate(
        ("coco-train-0000.tar", "coco-train-0001.tar.gz", "val/0000.tar", "test-0.tar")
    ):
        fields = json.dumps({"caption": "in the json", "width": 3, "label": None}).encode()
        shard(
            root / name,
            ("a/000.v1.5.json", b"left out"),
            ("a/000.json", fields),
            ("a/000.png", photo(place)),
            ("a/000.txt", f" naïve\t狗 {place}\n".encode()),
            ("a/001.JPG", photo(place + 10)),
            ("a/001.json", fields),
            ("__meta__/info.json", b"{}"),
        )
    raw = read(root, tmp_path)
    assert (raw.task, raw.quarantined, raw.inputs) == ("retrieval", [], 8)
    assert {split: len(samples) for split, samples in raw.by_split().items()} == {
        "train": 4,
        "val": 2,
        "test": 2,
    }
    texts = {sample.id: [text.text for text in sample.texts] for sample in raw.samples}
    assert texts["val/0000.tar/a/000"] == [" naïve\t狗 2\n"]
    assert texts["test-0.tar/a/001"] == ["in the json"]
    first, second = (sample for sample in raw.samples if sample.id.endswith("train-0000.tar/a/000") or sample.id.endswith("0001.tar.gz/a/000"))  # fmt: skip
    assert first.image.read_bytes() == photo(0)
    assert second.image.read_bytes() == photo(1)


def test_bad_samples_are_quarantined_and_the_check_agrees(tmp_path):
    root = tmp_path / "raw"
    sound = [(f"{place}.{kind}", content) for place in range(4) for kind, content in (("png", photo(place)), ("cls", b"%d\n" % (place % 2)))]  # fmt: skip
    shard(root / "val.tar", *sound)
    bad = [
        ("no_photo.cls", b"1"),
        ("two.jpg", photo(7)),
        ("two.png", photo(8)),
        ("two.cls", b"1"),
        ("broken.jpg", b"no picture"),
        ("broken.cls", b"1"),
        ("bare.jpg", photo(9)),
        ("wrong.jpg", photo(10)),
        ("wrong.json", b"[1"),
        ("list.jpg", photo(11)),
        ("list.json", b"[1]"),
    ]
    shard(root / "train.tar", *sound, *bad)
    config = IngestConfig(dataset="webdataset", root=root, context_size=16)
    summary = ingest(config, tmp_path / "prepared", tmp_path / "scratch", workers=1)
    assert summary.labels == ("0", "1")
    assert summary.counts == {"train": 4, "val": 4, "test": 0}
    assert summary.quarantined == {"no_image": 1, "malformed_row": 3, "unreadable_image": 1, "no_label": 1}
    assert Prepared.open(tmp_path / "prepared").split("train").labels.tolist() == [[1, 0], [0, 1]] * 2
    checked = check(config, tmp_path / "scratch", workers=1)
    assert (checked.inputs, checked.sound) == (summary.inputs, 8)


def test_shards_that_leave_their_folder_or_are_damaged_are_refused(tmp_path):
    shard(tmp_path / "out" / "train.tar", ("../a.jpg", photo(1)), ("../a.txt", b"text"))
    with pytest.raises(DatasetError, match="outside its folder"):
        read(tmp_path / "out", tmp_path)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "train.tar").write_bytes(b"x" * 2000)
    with pytest.raises(DatasetError, match="cannot be unpacked"):
        read(tmp_path / "damaged", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds no shard"):
        WebDataset().unpacked(tmp_path / "empty", tmp_path / "scratch")

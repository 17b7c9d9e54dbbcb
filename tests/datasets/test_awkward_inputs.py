"""Awkward files, through the whole of ingestion: each is kept as it looks, or set aside with its reason."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat
from support.awkward_images import IMAGES, KEPT, OPENCV_KEEPS, POINT, REFUSED, SIZE

from mmer_core.config import IngestConfig
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.prepared import DatasetSummary, Prepared
from mmer_core.datasets.synthetic.emotic_mat import Person, Photo, write_annotations
from mmer_core.datasets.synthetic.emotions import Rating
from mmer_core.errors import DatasetError


def _flickr(
    root: Path, captions: bytes, images: dict[str, bytes] = IMAGES, name: str = "captions.txt"
) -> Path:
    (root / "Images").mkdir(parents=True)
    for photo, content in images.items():
        (root / "Images" / photo).write_bytes(content)
    (root / name).write_bytes(captions)
    (root / "Flickr_8k.trainImages.txt").write_text("\n".join(images))
    return root


def _emotic(root: Path) -> Path:
    folder = root / "emotic" / "mscoco" / "images"
    folder.mkdir(parents=True)
    (root / "Annotations").mkdir()
    photos = []
    for photo, content in IMAGES.items():
        (folder / photo).write_bytes(content)
        size = (1, 1) if photo == POINT else SIZE
        rating = Rating(["Peace"], (5.0, 5.0, 5.0))
        photos.append(
            Photo(
                "mscoco/images", photo, size, [Person((0, 0, *size), "Male", "Adult", frozenset(), [rating])]
            )
        )
    write_annotations(
        root / "Annotations" / "Annotations.mat", {"train": photos, "val": photos[:1], "test": photos[:1]}
    )
    return root


def _ingest(
    root: Path, folder: Path, **fields: object
) -> tuple[DatasetSummary, Prepared, dict[str, tuple[str, str]]]:
    """Card, files, and the reason and detail of everything set aside that is no caption, by file name."""
    config = IngestConfig.model_validate({"root": root, "context_size": 16, "body_size": 16, **fields})
    card = ingest(config, folder / "out", folder / "scratch", workers=2)
    rows = pd.read_csv(folder / "out" / "quarantine.csv", keep_default_na=False)
    rows = rows[~rows["Reason"].str.startswith("caption_")]
    names = [Path(identity).name.partition("#")[0] for identity in rows["Id"]]
    return (
        card,
        Prepared.open(folder / "out"),
        dict(zip(names, zip(rows["Reason"], rows["Detail"], strict=True), strict=True)),
    )


@pytest.mark.parametrize(
    ("dataset", "protocol"), [("flickr8k", "corrected"), ("emotic", "corrected"), ("emotic", "mat2py")]
)
def test_images(dataset: str, protocol: str, tmp_path: Path) -> None:
    lines = b"image,caption\n" + b"".join(b"%s,A dog runs .\n" % name.encode() for name in IMAGES)
    root = _flickr(tmp_path / "raw", lines) if dataset == "flickr8k" else _emotic(tmp_path / "raw")
    card, prepared, aside = _ingest(root, tmp_path, dataset=dataset, protocol=protocol)
    assert sum(card.counts.values()) + len(aside) == card.inputs
    kept_anyway = OPENCV_KEEPS if protocol == "mat2py" else set()
    assert aside.keys() == REFUSED.keys() - kept_anyway
    for name, (reason, detail) in aside.items():
        assert reason == "unreadable_image"
        if protocol == "corrected":
            assert REFUSED[name][1] in detail
    train = prepared.split("train")
    names = list(train.table["Filename"])
    assert set(names) == set(IMAGES) - set(aside)
    for stream in train.streams:
        pictures = dict(zip(names, train.images(stream), strict=True))
        assert pictures[POINT].min() == 255
        for name in KEPT:
            assert pictures[name][:, :6].max() < 40, name
            assert pictures[name][:, 10:].min() > 215, name


CAPTIONS: dict[str, tuple[bytes, str]] = {
    "comma.jpg": (b'"Two dogs , one ball ."', "Two dogs , one ball ."),
    "bare-comma.jpg": (b"Two dogs , one ball .", "Two dogs , one ball ."),
    "quotes.jpg": (b'"A sign says ""stop"" ."', 'A sign says "stop" .'),
    "newline.jpg": (b'"One\ntwo\r\nthree ."', "One two three ."),
    "latin.jpg": (b"A caf\xe9 outside .", "A caf\ufffd outside ."),
    "emoji.jpg": ("A dog 🐕‍🦺 .".encode(), "A dog 🐕‍🦺 ."),
    "hebrew.jpg": ("כלב רץ בשלג .".encode(), "כלב רץ בשלג ."),
    "arabic.jpg": ("كلب يركض .".encode(), "كلب يركض ."),
    "number.jpg": (b"NA", "NA"),
}
"""Captions as written in ``captions.txt``, and as they reach the encoders."""


def test_captions(tmp_path: Path) -> None:
    lines = b"image,caption\n" + b"".join(
        b"%s,%s\n" % (name.encode(), raw) for name, (raw, _) in CAPTIONS.items()
    )
    lines += b"comma.jpg,\nnobody.jpg,A photo that is not there .\n"
    images = dict.fromkeys(CAPTIONS, KEPT["plain.jpg"])
    card, prepared, aside = _ingest(_flickr(tmp_path / "raw", lines, images), tmp_path, dataset="flickr8k")
    train = prepared.split("train")
    assert dict(zip(train.ids, train.texts, strict=True)) == {
        name: text for name, (_, text) in CAPTIONS.items()
    }
    assert aside == {}
    assert card.texts_quarantined == {"caption_empty": 1, "caption_unknown_photo": 1}
    assert sum(card.texts.values()) + 2 == card.texts_found == len(CAPTIONS) + 2


def _without(split: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        savemat(path, {name: np.zeros((0, 0)) for name in ("train", "val", "test") if name != split})

    return write


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "cannot be read as a MATLAB file"),
        (lambda path: path.write_bytes(b"train,val,test\n" * 50), "cannot be read as a MATLAB file"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "cannot be read as a MATLAB file"),
        (lambda path: path.write_bytes(KEPT["plain.jpg"]), "cannot be read as a MATLAB file"),
        (lambda path: path.unlink(), "holds no Annotations.mat"),
        (_without("val"), "lacks val"),
        (_without("test"), "lacks test"),
    ],
    ids=["empty", "text", "cut", "photo", "missing", "no val", "no test"],
)
def test_annotations(write: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    root = _emotic(tmp_path / "raw")
    write(root / "Annotations" / "Annotations.mat")
    with pytest.raises(DatasetError, match=message):
        _ingest(root, tmp_path, dataset="emotic")
    assert not (tmp_path / "out" / "dataset.json").exists()

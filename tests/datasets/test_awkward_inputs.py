"""Awkward files, through the whole of ingestion: each is kept as it looks, or set aside with its reason."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import savemat

from mmer_core.config import IngestConfig
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.prepared import DatasetCard, Prepared
from mmer_core.datasets.synthetic.emotic_mat import Person, Photo, write_annotations
from mmer_core.datasets.synthetic.emotions import Rating
from mmer_core.errors import DatasetError

SIZE = (48, 32)


def _halves() -> Image.Image:
    """Black on the left, white on the right."""
    image = Image.new("RGB", SIZE, "white")
    image.paste("black", (0, 0, SIZE[0] // 2, SIZE[1]))
    return image


def _file(image: Image.Image, kind: str, **fields: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **fields)
    return file.getvalue()


def _deep() -> bytes:
    gray = np.asarray(_halves().convert("L")).astype(np.uint16) * 257
    return _file(Image.fromarray(gray), "PNG")


def _rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _file(_halves().transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)


def _bomb() -> bytes:
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(bytes(9999)),
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


def _truncated() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    return _file(Image.fromarray(noise), "JPEG", quality=95)[:2000]


KEPT: dict[str, bytes] = {
    "plain.jpg": _file(_halves(), "JPEG", quality=95),
    "cmyk.jpg": _file(_halves().convert("CMYK"), "JPEG", quality=95),
    "gray.jpg": _file(_halves().convert("L"), "JPEG", quality=95),
    "bilevel.png": _file(_halves().convert("1"), "PNG"),
    "sixteen-bit.png": _deep(),
    "palette.png": _file(_halves().quantize(4), "PNG"),
    "transparent.png": _file(_halves().convert("RGBA"), "PNG"),
    "rotated.jpg": _rotated(),
    "other-suffix.jpg": _file(_halves(), "PNG"),
}
"""Files that show `_halves`."""
POINT = "one-pixel.png"
REFUSED: dict[str, tuple[bytes, str]] = {
    "corrupt.jpg": (b"\xff\xd8\xff\xe0 not a photo", "Truncated"),
    "truncated.jpg": (_truncated(), "truncated"),
    "empty.jpg": (b"", "cannot identify"),
    "bomb.png": (_bomb(), "3600000000 pixels"),
    "text.png": (b"a text", "cannot identify"),
}
"""Files that are no whole picture, and what is said about them."""
OPENCV_KEEPS = {"truncated.jpg"}
"""What the reference converter takes all the same, completed with gray."""
IMAGES = {
    **KEPT,
    POINT: _file(Image.new("RGB", (1, 1), "white"), "PNG"),
    **{name: content for name, (content, _) in REFUSED.items()},
}


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
) -> tuple[DatasetCard, Prepared, dict[str, tuple[str, str]]]:
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
"""Captions as they stand in ``captions.txt``, and as they reach the encoders."""


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
    ("write", "told"),
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
def test_annotations(write: Callable[[Path], None], told: str, tmp_path: Path) -> None:
    root = _emotic(tmp_path / "raw")
    write(root / "Annotations" / "Annotations.mat")
    with pytest.raises(DatasetError, match=told):
        _ingest(root, tmp_path, dataset="emotic")
    assert not (tmp_path / "out" / "dataset.json").exists()

"""What a picture is, is converted by a rule that is written down, or is refused: it never becomes black in silence."""

import os
import re
import stat
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image
from support.picture_files import COLOURS, RAMP, RULES, Kind, chunk, file_of, gray, png, tiff

from mmer_core.config import IngestConfig
from mmer_core.confined.pictures import UnreadableImageError, decoded, decoded_each
from mmer_core.datasets.check import check
from mmer_core.datasets.ingest import ingest
from mmer_core.datasets.pixels import decode_rgb, read_rgb
from mmer_core.errors import DatasetError
from mmer_core.prediction.photos import read_photo
from mmer_core.querying import NoPicture, PhotoRoot

ROOT = Path(__file__).parents[2]
KINDS = [
    pytest.param(make, id=f"{row}-{at}") for row, kinds in RULES.items() for at, make in enumerate(kinds)
]


@pytest.mark.parametrize("make", KINDS)
def test_every_kind_is_converted_by_its_rule_or_refused(make, tmp_path):
    kind: Kind = make()
    path = tmp_path / "photo.jpg"
    path.write_bytes(kind.content)
    for source in (path, kind.content):
        if isinstance(kind.expected, str):
            with pytest.raises(UnreadableImageError, match=re.escape(kind.expected)):
                decoded(source)
        else:
            expected = kind.expected if kind.expected.ndim == 3 else np.dstack([kind.expected] * 3)
            off = np.abs(decoded(source)[..., :3].astype(int) - expected)
            assert off.max() <= kind.near
    # The reference's decoder has values of its own, but makes nothing black either.
    try:
        pixels = decoded(path, how="opencv")
    except UnreadableImageError:
        return
    if isinstance(kind.expected, np.ndarray):
        expected = kind.expected if kind.expected.ndim == 3 else np.dstack([kind.expected] * 3)
        assert np.abs(pixels.astype(int) - expected).max() <= max(kind.near, 1)
    else:
        assert pixels.any()


def test_the_table_in_the_docs_is_this_one():
    section = (ROOT / "docs" / "manifest.md").read_text().split("## Images\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)
    assert rows[1 : rows.index("limit")] == list(RULES)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_also_to_what_is_decoded_in_place(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.kron(gray(RAMP), np.ones((8, 8), np.uint8)))
    turns = [None, 0, 3, 1, 5, 4, 6, 2]  # Pillow's transpositions
    turn = turns[orientation - 1]
    upright = image if turn is None else image.transpose(Image.Transpose(turn))
    for mode in ("L", "RGB"):
        path = tmp_path / "a.jpg"
        image.convert(mode).save(path, exif=exif, quality=100)
        assert np.abs(decoded(path)[..., 0].astype(int) - np.asarray(upright)).max() <= 3


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
NAMES = ("a.jpg", "b.png", "c.eps", "d.ps", "e.tif", "f.pdf", "g.wmf", "h", "i.webp", "j.gif", "k.ppm")


def test_no_file_starts_another_program(tmp_path, monkeypatch):
    mark, programs = tmp_path / "started", tmp_path / "bin"
    programs.mkdir()
    ghost = programs / "gs"
    ghost.write_text(f"#!/bin/sh\n: > {mark}\n")
    ghost.chmod(ghost.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in NAMES:
        (photos / name).write_bytes(POSTSCRIPT)
    Image.fromarray(COLOURS).save(photos / "sound.png")

    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    with Image.open(photos / "c.eps") as control, pytest.raises(OSError):
        control.load()
    assert mark.exists(), "left to itself, Pillow starts it"
    mark.unlink()

    root = PhotoRoot(photos)
    for name in NAMES:
        path = photos / name
        for read in (decoded, read_rgb, lambda one: decoded(one, how="opencv")):
            with pytest.raises(UnreadableImageError, match="cannot identify"):
                read(path)
        for read in (decoded, decode_rgb):
            with pytest.raises(UnreadableImageError, match="cannot identify"):
                read(POSTSCRIPT)
        with pytest.raises(DatasetError, match="cannot identify"):
            read_photo(path)
        with pytest.raises(NoPicture):
            root.open(name)
        with pytest.raises(NoPicture):
            root.picture(name, name)
    listed = "".join(f"{name},train,{name},x\n{name}2,val,sound.png,y\n" for name in (*NAMES, "sound.png"))
    manifest = photos / "all.csv"
    manifest.write_text("id,split,image,text\n" + listed)
    config = IngestConfig(dataset="manifest", root=manifest)
    reported = check(config, tmp_path / "scratch", workers=2)
    card = ingest(config, tmp_path / "made", tmp_path / "scratch", workers=2)
    refused = [fault for fault in reported.faults if fault.reason == "unreadable_image"]
    assert len(refused) == card.quarantined["unreadable_image"] == len(NAMES)
    assert not mark.exists()


def test_pictures_are_opened_in_one_place():
    opening = re.compile(r"\b(Image\.open|imread|imdecode)\(")
    found = [
        str(path.relative_to(ROOT))
        for package in ("mmer_core", "tasks", "flows", "deployments")
        for path in (ROOT / package).rglob("*.py")
        if opening.search(path.read_text())
    ]
    assert sorted(found) == ["mmer_core/confined/picture_files.py", "mmer_core/confined/picture_opencv.py"]


def test_damaged_exif_data_cost_no_photo(tmp_path):
    image = Image.fromarray(COLOURS).resize((64, 64))
    garbage, endless = b"garbage", b"MM\0*\0\0\0\x08\0\5"
    for exif in (garbage, endless):
        for kind in ("JPEG", "WEBP"):
            content = file_of(image, kind, exif=b"Exif\0\0" + exif)
            assert np.array_equal(decoded(content), decoded(file_of(image, kind)))
        rows = b"\0" + bytes([9] * 4)
        assert np.array_equal(
            decoded(png((4, 1), rows, before=chunk(b"eXIf", exif))), decoded(png((4, 1), rows))
        )


def test_a_png_may_hold_a_large_profile_but_no_bomb():
    rows = b"\0" + bytes([9] * 4)
    for size, sound in ((2**22, True), (2**28, False)):
        profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(size), 9))
        if sound:
            assert (decoded(png((4, 1), rows, before=profile))[..., :3] == 9).all()
        else:
            with pytest.raises(UnreadableImageError, match="too large"):
                decoded(png((4, 1), rows, before=profile))


def test_libraries_print_and_warn_nothing(tmp_path, capfd):
    unknown_tag = tiff(gray(RAMP), bits=8).replace(struct.pack("<HH", 339, 3), struct.pack("<HH", 65000, 77))
    exif = chunk(b"eXIf", b"garbage")
    talkative = {
        "tag.tiff": unknown_tag,
        "cut.tiff": file_of(Image.fromarray(COLOURS).resize((90, 90)), "TIFF", compression="tiff_lzw")[:-9],
        "exif.png": png((4, 2), (b"\0" + bytes([9] * 4)) * 2, before=exif),
        "iccp.png": png((4, 2), (b"\0" + bytes([9] * 4)) * 2, before=chunk(b"iCCP", b"sRGB\0\0garbage")),
        "cut.jpg": file_of(Image.fromarray(COLOURS).resize((90, 90)), "JPEG")[:700] + b"\xff\xd9",
        "palette.png": file_of(Image.fromarray(COLOURS).quantize(4), "PNG", transparency=bytes([0, 99])),
        "float.tiff": tiff(RAMP.astype(np.float32), bits=32, sample=3),
        "nan.tiff": tiff(np.full((2, 4), np.nan, np.float32), bits=32, sample=3),
        "large.png": png((10_000, 10_000), b""),
    }
    for name, content in talkative.items():
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in talkative]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for how in ("pillow", "opencv"):
            said = decoded_each(paths, lambda one: str(one) if isinstance(one, Exception) else "", how=how)
            assert all("\n" not in one and str(tmp_path) not in one for one in said)
        config = IngestConfig(dataset="manifest", root=tmp_path / "all.csv")
        rows = "".join(
            f"{split}{name},{split},{name},x\n" for name in talkative for split in ("train", "val")
        )
        (tmp_path / "all.csv").write_text("id,split,image,text\n" + rows)
        ingest(config, tmp_path / "made", tmp_path / "scratch", workers=2)
        squares = np.load(tmp_path / "made" / "train_context_arr.npy")
    assert len(squares) < len(talkative)
    assert capfd.readouterr() == ("", "")

"""Which JPEGs need no further look before OpenCV decodes them."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmer_core.confined.picture_bounds import plain_jpeg

RNG = np.random.default_rng(0)


def jpeg(mode="RGB", size=(37, 21), **options):
    image = Image.fromarray(RNG.integers(0, 256, (size[1], size[0], 3), np.uint8)).convert(mode)
    file = BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def looked_at(content: bytes, path: Path):
    path.write_bytes(content)
    with path.open("rb") as file:
        return plain_jpeg(file)


def exif():
    made = Image.Exif()
    made[0x0112] = 6
    return made


def test_plain_ones_are_as_large_as_pillow_says(tmp_path):
    for mode in ("RGB", "L"):
        for size in ((1, 1), (37, 21), (640, 480), (20, 5000)):
            for options in (
                {},
                {"quality": 100, "subsampling": 0},
                {"optimize": True},
                {"comment": b"a" * 999},
                {"dpi": (9, 9)},
            ):
                content = jpeg(mode, size, **options)
                assert looked_at(content, tmp_path / "a") == Image.open(BytesIO(content)).size == size


@pytest.mark.parametrize(
    "content",
    [
        jpeg(progressive=True), jpeg(exif=exif()), jpeg("CMYK"), b"", b"\xff\xd8\xff", jpeg()[:100],
        jpeg(icc_profile=bytes(2**17)), jpeg().replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
        b"\xff\xd8" + b"\xff\xe2\0\x08MPF\0ab" + jpeg()[2:], b"\xff\xd8\xff\xff" + jpeg()[3:],
    ],
    ids=["progressive", "exif", "cmyk", "empty", "begun", "cut", "long", "12 bits", "several", "filled"],
)  # fmt: skip
def test_others_are_left_to_pillow(content, tmp_path):
    assert looked_at(content, tmp_path / "a") is None


@given(st.lists(st.tuples(st.integers(2, 700), st.integers(0, 255)), max_size=4), st.integers(0, 700))
def test_damaged_ones_are_left_to_pillow_or_have_a_size(tmp_path_factory, changes, end):
    content = bytearray(PLAIN)
    for place, value in changes:
        content[place % len(content)] = value
    found = looked_at(bytes(content[: len(content) - end]), tmp_path_factory.getbasetemp() / "plain")
    assert found is None or (len(found) == 2 and all(0 < side < 2**16 for side in found))


PLAIN = jpeg()

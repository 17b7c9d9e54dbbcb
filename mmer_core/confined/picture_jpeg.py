"""Detecting truncated JPEG files that Pillow accepts because an end marker or zeros follow the missing data."""

import io
import os
import random
from typing import IO

from PIL import Image, ImageChops
from PIL.JpegImagePlugin import JpegImageFile

from mmer_core.confined.picture_bounds import END, Refused, markers

_END = bytes([0xFF, END])
_BLOCK = 8
_GRAY = range(126, 131)
"""Gray level of blocks without data, up to rounding in colour conversion."""
_FILLER = random.Random(0).randbytes(2**12).replace(b"\xff", b"\xfe")
"""Bytes that are not a marker."""


def check_jpeg(image: Image.Image, file: IO[bytes]) -> None:
    """Raise `Refused` for a decoded JPEG that lacks its end, or pixels."""
    file.seek(-len(_END), os.SEEK_END)
    ends = file.read() == _END
    if ends and not _ends_gray(image):
        return
    file.seek(0)
    content = file.read()
    end = next((place for marker, place in markers(content) if marker == END), -1)
    if end < 0:
        raise Refused("the image file is truncated: it has no end")
    # Missing data are at the end and decode as gray. Only if data are missing does appending some change the picture.
    if _ends_gray(image) and _differ(image, content[:end] + _FILLER + content[end:]):
        raise Refused("the image file is truncated: it has fewer pixels than it says")


def _ends_gray(image: Image.Image) -> bool:
    if image.mode not in ("L", "RGB"):
        return False
    width, height = image.size
    last = image.crop((max(0, width - _BLOCK), max(0, height - _BLOCK), width, height))
    values = last.tobytes()
    return min(values) in _GRAY and max(values) in _GRAY


def _differ(image: Image.Image, content: bytes) -> bool:
    with JpegImageFile(io.BytesIO(content)) as other:
        return ImageChops.difference(image, other).getbbox() is not None

"""Picture files to Pillow images, for the child. Importing this module restricts Pillow to a few formats."""

import os
import warnings
from functools import cache
from typing import IO

# Pillow opens the formats whose plugins are imported, and only these are.
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from mmer_core.confined.picture_bounds import Refused, check_scans, check_size, sniffed, unknown
from mmer_core.confined.picture_colours import check_planes, to_rgb
from mmer_core.confined.picture_jpeg import check_jpeg
from mmer_core.confined.picture_limits import MAX_FILE_BYTES, MAX_PIXELS, MAX_TEXT
from mmer_core.confined.picture_png import check_png

_PLUGINS = (
    BmpImagePlugin, GifImagePlugin, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, PpmImagePlugin, TiffImagePlugin,
    WebPImagePlugin,
)  # fmt: skip

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that turns a picture upright, by its EXIF orientation."""

_CACHED_BLOCKS = 8
"""Memory blocks that Pillow keeps for its next pictures instead of returning them to the system; this makes decoding a
photo a fifth faster."""


@cache
def prepare_pillow() -> None:
    """Configure Pillow for a process that only decodes."""
    Image.MAX_IMAGE_PIXELS = None  # sizes are checked by our own rule
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = MAX_TEXT
    Image.core.set_block_size(2**16 + 4 * MAX_PIXELS)  # a picture in a single block can be copied at once
    Image.core.set_blocks_max(_CACHED_BLOCKS)
    warnings.simplefilter("ignore")


def opened(file: IO[bytes], formats: tuple[str, ...], most: int) -> Image.Image:
    """Open a picture whose decoding cost is bounded. Raises `Refused`, or any error of Pillow's header parsers."""
    if (size := file.seek(0, os.SEEK_END)) > MAX_FILE_BYTES:
        raise Refused(f"a file of {size} bytes, and more than {MAX_FILE_BYTES} are refused")
    try:
        image = Image.open(file, formats=formats)
    except Image.UnidentifiedImageError:
        file.seek(0)
        raise unknown(sniffed(file.read(16), formats), formats) from None
    check_size(*image.size, most)
    if image.info.get("progressive") and image.format in ("JPEG", "MPO"):
        file.seek(0)
        check_scans(file.read())
    return image


def upright_rgb(image: Image.Image, file: IO[bytes], most: int) -> Image.Image:
    """The first frame of an opened picture as RGB, upright by the EXIF orientation. Raises as `opened` does."""
    if image.format == "TIFF":
        check_planes(image)
    image.load()
    check_size(*image.size, most)  # some formats know their size only after loading
    if image.format == "PNG":
        check_png(image, file)
    elif image.format in ("JPEG", "MPO"):
        check_jpeg(image, file)
    elif image.format == "GIF" and image.mode == "L":
        _check_gray_gif(file)
    turn = _TURNS.get(_orientation(image))
    rgb = to_rgb(image)
    return rgb if turn is None else rgb.transpose(turn)


def _check_gray_gif(file: IO[bytes]) -> None:
    """Raise `Refused` for a GIF without a palette, whose indices Pillow would interpret as gray levels."""
    file.seek(10)
    if not file.read(1)[0] & 0x80:
        raise Refused("it has no palette, so that nobody knows its colours")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 0 if it is absent or unreadable."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except MemoryError:
        raise
    except Exception:  # damaged EXIF data can make Pillow raise anything, but does not affect the pixels
        return 0
    return value if isinstance(value, int) else 0

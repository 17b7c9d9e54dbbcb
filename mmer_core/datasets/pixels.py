"""Any picture file to 8-bit RGB, or one error that says what is wrong with it."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

MAX_PIXELS = 2**26
"""Pictures with more pixels (200 MB decoded) are refused unread: they are bombs, or not photos."""

CACHED_BLOCKS = 8
"""Blocks of at most 16 MiB that Pillow keeps for its next pictures, where by default it hands them back each time;
decoding a photo takes a fifth less time when its memory need not be made anew."""
Image.core.set_blocks_max(CACHED_BLOCKS)


class UnreadableImageError(Exception):
    """A file that is not a whole picture; the message says why."""


def read_rgb(path: Path) -> Image.Image:
    """Decode to RGB uint8, upright by the EXIF orientation.

    16-bit, floating-point, palette, gray, CMYK and bilevel pictures are converted; transparency is dropped.

    Raises:
        UnreadableImageError: Missing, truncated, too large, or not a picture.
    """
    return _decode(path, str(path), path.name)


def decode_rgb(
    content: bytes, *, formats: tuple[str, ...] | None = None, most: int = MAX_PIXELS
) -> Image.Image:
    """The same for the bytes of a file.

    Args:
        formats: Those that are tried, by Pillow's names; all when None.
        most: Pixels.
    """
    file = io.BytesIO(content)
    return _decode(file, repr(file), "the file", formats, most)


def _decode(
    source: Path | io.BytesIO,
    long_name: str,
    name: str,
    formats: tuple[str, ...] | None = None,
    most: int = MAX_PIXELS,
) -> Image.Image:
    try:
        with Image.open(source, formats=formats) as image:
            width, height = image.size
            if width * height > most:
                raise UnreadableImageError(f"{width}x{height} pixels are more than {most}")
            image.load()
            # In place: without an orientation, as is usual, nothing is copied.
            ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image)
    except UnreadableImageError:
        raise
    except FileNotFoundError:
        raise UnreadableImageError("the file does not exist") from None
    # Pillow's decoders raise whatever a damaged file makes them stumble over (struct.error, KeyError, ...).
    except Exception as error:
        # Pillow names the file as Python writes a string.
        reason = str(error).replace(repr(long_name)[1:-1], name).replace(long_name, name)
        reason = reason or type(error).__name__
        raise UnreadableImageError(" ".join(reason.split())) from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image, dtype=np.float64)
        # Pillow clips these modes at 255 on conversion; 16-bit values need their full range scaled instead.
        scale = 257.0 if image.mode.startswith("I;16") or values.max(initial=0) > 255 else 1.0
        image = Image.fromarray(np.clip(np.rint(values / scale), 0, 255).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")

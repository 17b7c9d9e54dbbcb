"""Any picture file to 8-bit RGB, or an error that says what is wrong with it; decoded by `mmer_core.confined`."""

from pathlib import Path

from PIL import Image

from mmer_core.confined.picture_limits import FORMATS, MAX_PIXELS
from mmer_core.confined.pictures import Pixels, UnreadableImageError, decoded

__all__ = ["MAX_PIXELS", "UnreadableImageError", "decode_rgb", "read_rgb"]


def read_rgb(path: Path) -> Image.Image:
    """Decode to RGB uint8, upright by the EXIF orientation, by the rules of ``docs/manifest.md``.

    Raises:
        UnreadableImageError: The file is missing, truncated, too large, or not a picture in a supported format.
    """
    return _image(decoded(path, most=MAX_PIXELS))


def decode_rgb(content: bytes, *, formats: tuple[str, ...] = FORMATS, most: int = MAX_PIXELS) -> Image.Image:
    """The same for the bytes of a file.

    Args:
        formats: Allowed formats, by Pillow's names.
        most: Maximal number of pixels.
    """
    return _image(decoded(content, formats=formats, most=most))


def _image(pixels: Pixels) -> Image.Image:
    """A copy of ``(H, W, 4)``."""
    height, width, _ = pixels.shape
    return Image.frombytes("RGB", (width, height), pixels.data, "raw", "RGBX")

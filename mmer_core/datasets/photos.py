"""A decoded photo, and the squares that prepared arrays hold of it, by protocol.

``mat2py`` decodes and resizes with OpenCV, because no other library gives the reference converter's values:
``cv2.imread``, BGR to RGB, a NumPy slice, and ``cv2.resize`` with its default, bilinear without antialiasing.
Everything else is decoded by Pillow and reduced by torch's antialiased bilinear kernel: Pillow's own filter, within
one of 255 levels, in two fifths of the time.
"""

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image
from torch.nn.functional import interpolate

from mmer_core.datasets.boxes import Size
from mmer_core.datasets.pixels import MAX_PIXELS, UnreadableImageError, read_rgb
from mmer_core.datasets.sample import Box
from mmer_core.errors import ConfigError

Square = npt.NDArray[np.uint8]
"""``(side, side, 3)`` RGB."""


class Photo(Protocol):
    """What preparing a sample needs of its photo."""

    @property
    def size(self) -> Size: ...

    def square(self, side: int, box: Box | None = None) -> Square:
        """The photo, or a non-empty box inside it, squeezed to a square."""
        ...


@dataclass(frozen=True)
class PillowPhoto:
    """A photo decoded by Pillow."""

    image: Image.Image

    @property
    def size(self) -> Size:
        return self.image.size

    def square(self, side: int, box: Box | None = None) -> Square:
        """As `Photo.square`."""
        return resized(self.image, side, box)


@dataclass(frozen=True)
class Cv2Photo:
    """A photo resized by OpenCV; ``pixels`` are ``(H, W, 3)`` uint8 RGB."""

    pixels: npt.NDArray[np.uint8]

    @property
    def size(self) -> Size:
        height, width = self.pixels.shape[:2]
        return width, height

    def square(self, side: int, box: Box | None = None) -> Square:
        """As `Photo.square`."""
        x1, y1, x2, y2 = box or (0, 0, *self.size)
        # A slice is not contiguous; the copy is what the reference resizes, too.
        resized: Square = cv2_module().resize(self.pixels[y1:y2, x1:x2].copy(), (side, side))
        return resized


def resized(image: Image.Image, side: int, box: Box | None = None) -> Square:
    """An RGB picture, or a non-empty box inside it, squeezed to a square as all protocols but ``mat2py`` do."""
    x1, y1, x2, y2 = box or (0, 0, *image.size)
    # The batch dimension first: with its stride right, torch sees channels last, and turns nothing around.
    pixels = torch.from_numpy(_pixels(image)[y1:y2, x1:x2])[None].permute(0, 3, 1, 2)
    red, green, blue, *_ = interpolate(pixels, (side, side), mode="bilinear", antialias=True)[0].numpy()
    return np.stack([red, green, blue], axis=-1)


def _pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Pillow's own memory of an RGB picture, ``(H, W, 4)`` with one byte of padding; a copy without it, if need be.

    Temporary arrays of the size of a photo cost the threads of an ingestion more than the resizing: the system
    hands out their pages one by one, and takes them back.
    """
    try:
        (_, memory) = pa.array(image).flatten().buffers()
    except ValueError:  # a large picture, which Pillow keeps in several blocks
        return np.array(image)
    held = (ctypes.c_uint8 * memory.size).from_address(memory.address)
    held.owner = memory  # numpy keeps the one, and the one keeps the other
    return np.frombuffer(held, np.uint8).reshape(image.height, image.width, 4)


def photo_reader(protocol: str) -> Callable[[Path], Photo]:
    """The function that decodes photos under a protocol; it raises `UnreadableImageError`.

    Raises:
        ConfigError: The protocol is ``mat2py`` and OpenCV is not installed.
    """
    if protocol == "mat2py":
        cv2_module()
        return read_cv2
    return read_pillow


def read_pillow(path: Path) -> PillowPhoto:
    """Raises `UnreadableImageError`, see `mmer_core.datasets.pixels`."""
    return PillowPhoto(read_rgb(path))


def read_cv2(path: Path) -> Cv2Photo:
    """Decode as the reference does; truncated JPEGs that OpenCV completes with gray are kept.

    Raises:
        UnreadableImageError: Missing, too large, or nothing that OpenCV reads.
    """
    cv2 = cv2_module()
    if not os.path.isfile(path):
        raise UnreadableImageError("the file does not exist")
    _refuse_bomb(path)
    try:
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise UnreadableImageError(" ".join(str(error).split())) from None
    if pixels is None:
        raise UnreadableImageError("OpenCV cannot decode it")
    return Cv2Photo(pixels)


@cache
def cv2_module() -> ModuleType:
    """OpenCV, which only the protocol ``mat2py`` needs.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise ConfigError(
            "protocol mat2py resizes with OpenCV, which is not installed: pip install 'mmer[mat2py]', "
            "or use the protocol corrected"
        ) from None
    return cv2


def _refuse_bomb(path: Path) -> None:
    """OpenCV allocates 2^30 pixels without a word; Pillow reads the size off the header first."""
    try:
        with Image.open(path) as header:
            width, height = header.size
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(" ".join(str(error).split())) from None
    except Exception:
        return  # not for Pillow to say: OpenCV reads files that Pillow does not
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(f"{width}x{height} pixels are more than {MAX_PIXELS}")

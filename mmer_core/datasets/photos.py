"""A decoded photo, and the squares that prepared arrays hold of it, by protocol.

``mat2py`` decodes and resizes with OpenCV, because no other library gives the reference converter's values:
``cv2.imread``, BGR to RGB, a NumPy slice, and ``cv2.resize`` with its default, bilinear without antialiasing.
Everything else is decoded by Pillow and reduced by torch's antialiased bilinear kernel: Pillow's own filter, within
one of 255 levels, in two fifths of the time.
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image
from torch.nn.functional import interpolate

from mmer_core.confined.picture_limits import MAX_PIXELS
from mmer_core.confined.picture_protocol import OPENCV, PILLOW
from mmer_core.confined.pictures import Pixels, UnreadableImageError, decoded, decoded_each
from mmer_core.datasets.boxes import Size
from mmer_core.datasets.sample import Box
from mmer_core.errors import ConfigError

Square = npt.NDArray[np.uint8]
"""``(side, side, 3)`` RGB."""

_TALL = 2**14
"""Pixels that no camera's photo is tall: of taller ones the height is reduced first."""


T = TypeVar("T")


class Photo(Protocol):
    """What preparing a sample needs of its photo."""

    @property
    def size(self) -> Size: ...

    def square(self, side: int, box: Box | None = None) -> Square:
        """The photo, or a non-empty box inside it, squeezed to a square."""
        ...


@dataclass(frozen=True)
class PillowPhoto:
    """A photo decoded by Pillow; ``pixels`` are ``(H, W, 4)`` uint8 RGB with a byte of padding."""

    pixels: npt.NDArray[np.uint8]

    @property
    def size(self) -> Size:
        height, width = self.pixels.shape[:2]
        return width, height

    def square(self, side: int, box: Box | None = None) -> Square:
        """As `Photo.square`."""
        return _squeezed(self.pixels, side, box)


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
        resized: Square = cv2_module().resize(self.pixels[y1:y2, x1:x2], (side, side))
        return resized


def resized(image: Image.Image, side: int, box: Box | None = None) -> Square:
    """An RGB picture, or a non-empty box inside it, squeezed to a square as all protocols but ``mat2py`` do."""
    return _squeezed(_pixels(image), side, box)


def _squeezed(pixels: npt.NDArray[np.uint8], side: int, box: Box | None) -> Square:
    """The same for ``(H, W, 3)`` or ``(H, W, 4)``, of which the fourth channel is padding."""
    x1, y1, x2, y2 = box or (0, 0, pixels.shape[1], pixels.shape[0])
    # The batch dimension first: with its stride right, torch sees channels last, and turns nothing around.
    photo = torch.from_numpy(pixels[y1:y2, x1:x2])[None].permute(0, 3, 1, 2)
    if y2 - y1 > _TALL > side:
        # torch resizes the width first, and would make the widened copy of a tall picture as tall.
        photo = interpolate(photo, (side, x2 - x1), mode="bilinear", antialias=True)
    red, green, blue, *_ = interpolate(photo, (side, side), mode="bilinear", antialias=True)[0].numpy()
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


@dataclass(frozen=True)
class PhotoReader:
    """What decodes photos under a protocol."""

    protocol: str

    def each(self, paths: Sequence[Path], use: Callable[[Photo | UnreadableImageError], T]) -> list[T]:
        """What becomes of every photo, or of the reason why it cannot be read. ``use`` must not keep a photo."""
        as_photo, how = (Cv2Photo, OPENCV) if self.protocol == "mat2py" else (PillowPhoto, PILLOW)

        def read(pixels: Pixels | UnreadableImageError) -> T:
            return use(pixels if isinstance(pixels, UnreadableImageError) else as_photo(pixels))

        return decoded_each(paths, read, how=how, most=MAX_PIXELS)


def photo_reader(protocol: str) -> PhotoReader:
    """What decodes photos under a protocol.

    Raises:
        ConfigError: The protocol is ``mat2py`` and OpenCV is not installed.
    """
    if protocol == "mat2py":
        cv2_module()
    return PhotoReader(protocol)


def read_cv2(path: Path) -> Cv2Photo:
    """Decode one photo as the reference does; truncated JPEGs that OpenCV completes with gray are kept.

    Raises:
        UnreadableImageError: Missing, too large, or nothing that OpenCV reads.
    """
    return Cv2Photo(decoded(path, how=OPENCV, most=MAX_PIXELS))


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

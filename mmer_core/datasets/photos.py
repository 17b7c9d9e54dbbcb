"""A decoded photo and the square crops of it in prepared arrays, by protocol.

``mat2py`` and ``notebook`` decode and resize with OpenCV, because no other library reproduces the reference's values:
``cv2.imread``, BGR to RGB, a NumPy slice, and ``cv2.resize`` with its default, bilinear without antialiasing.
All other protocols decode with Pillow and downscale with torch's antialiased bilinear kernel: the same filter as
Pillow's, within 1 of 255 levels, in two fifths of the time. Until importing torch has become worth the time, NumPy does the same.
"""

import ctypes
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from threadpoolctl import threadpool_limits

from mmer_core.confined.picture_limits import MAX_PIXELS
from mmer_core.confined.picture_protocol import OPENCV, PILLOW
from mmer_core.confined.pictures import (
    Pixels,
    Squares,
    UnreadableImageError,
    decoded,
    decoded_each,
    squares_each,
)
from mmer_core.confined.squares import Wanted
from mmer_core.datasets import resampling
from mmer_core.datasets.boxes import Size
from mmer_core.datasets.protocols import with_opencv
from mmer_core.datasets.sample import Box
from mmer_core.errors import ConfigError
from mmer_core.heavy import pa, torch

Square = npt.NDArray[np.uint8]
"""``(side, side, 3)`` RGB."""

_TALL = 2**14
"""Height in pixels beyond that of any camera; for taller pictures the height is reduced first."""

FEW_PHOTOS = 1200
"""Photos that NumPy resizes in the time that importing torch takes, at most."""
_FEW = FEW_PHOTOS * 2**18
"""Pixels of so many small photos."""
_TO_BE_RESIZED = 16 * 2**18
"""Pixels of so few photos that show that a dataset's photos do not have the wanted size already."""
_resized = 0
_thread = threading.local()

T = TypeVar("T")

_NO_OPENCV = (
    "the protocols mat2py and notebook resize with OpenCV, which is not installed: pip install 'mmer[mat2py]', "
    "or use the protocol corrected"
)


class Squarable(Protocol):
    """The interface of a photo that preparing a sample needs."""

    @property
    def size(self) -> Size: ...

    def square(self, side: int, box: Box | None = None) -> Square:
        """The photo, or a non-empty box inside it, resized to a square."""
        ...


class Photo(Squarable, Protocol):
    """A decoded photo."""

    @property
    def pixels(self) -> npt.NDArray[np.uint8]: ...


@dataclass(frozen=True)
class PillowPhoto:
    """A photo decoded by Pillow; ``pixels`` is ``(H, W, 4)`` uint8, RGB and a padding byte, or ``(H, W, 3)``."""

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
    """A photo resized by OpenCV; ``pixels`` is ``(H, W, 3)`` uint8 RGB."""

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


@dataclass(frozen=True)
class SquaredPhoto:
    """A photo of which there are only squares, by side and box."""

    size: Size
    squares: dict[tuple[int, Box], Square]

    def square(self, side: int, box: Box | None = None) -> Square:
        """As `Photo.square`."""
        return self.squares[side, box or (0, 0, *self.size)]


def _squared(squares: Squares | UnreadableImageError) -> SquaredPhoto | UnreadableImageError:
    return squares if isinstance(squares, UnreadableImageError) else SquaredPhoto(squares.size, squares.made)


def resized(image: Image.Image, side: int, box: Box | None = None) -> Square:
    """An RGB picture, or a non-empty box inside it, resized to a square as in all protocols without OpenCV."""
    return _squeezed(_pixels(image), side, box)


def _squeezed(pixels: npt.NDArray[np.uint8], side: int, box: Box | None) -> Square:
    """The same for ``(H, W, 3)`` or ``(H, W, 4)`` uint8, of which the fourth channel is padding."""
    x1, y1, x2, y2 = box or (0, 0, pixels.shape[1], pixels.shape[0])
    pixels = pixels[y1:y2, x1:x2]
    if height_first(y2 - y1, side):
        # torch resizes the width first, and its intermediate copy would be as tall as the picture.
        pixels = interpolated(pixels, side, x2 - x1)
    return interpolated(pixels, side, side)


def height_first(height: int, side: int) -> bool:
    """Whether the height of a photo or box, in pixels, is resized before its width; by protocols without OpenCV."""
    return height > _TALL > side


def interpolated(pixels: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """``(height, width, 3)`` of ``(H, W, 3)`` or ``(H, W, 4)`` uint8: the width is resized first, and then, from whole
    colours, the height."""
    if pixels.shape[:2] == (height, width) or _sooner_without_torch(pixels):
        return resampling.interpolated(pixels, height, width)
    if getattr(_thread, "to_limit", False):
        torch.set_num_threads(1)
        _thread.to_limit = False
    # Add the batch dimension first: torch then sees a channels-last layout and copies nothing.
    photo = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    resize = torch.nn.functional.interpolate
    red, green, blue, *_ = resize(photo, (height, width), mode="bilinear", antialias=True)[0].numpy()
    return np.stack([red, green, blue], axis=-1)


def in_one_thread() -> None:
    """Let this thread resize without torch's other threads, as one of several that resize at the same time."""
    _thread.to_limit = True


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let every thread resize without NumPy's other threads, likewise."""
    with threadpool_limits(1, "blas"):
        yield


class _TorchAhead:
    """Torch being imported by a thread of its own, from the first photos that have to be resized."""

    def __init__(self) -> None:
        self._first = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Do so, unless a thread does already."""
        if self._first.acquire(blocking=False):
            thread = threading.Thread(target=import_module, args=("torch",), name="mmer torch", daemon=True)
            thread.start()
            self._thread = thread

    @property
    def unfinished(self) -> bool:
        return self._first.locked() and (self._thread is None or self._thread.is_alive())

    def finish(self) -> None:
        if self._thread is not None:
            self._thread.join()


_torch_ahead: _TorchAhead | None = None


@contextmanager
def torch_ahead() -> Iterator[None]:
    """Import torch while the block runs, which takes a second, once its first photos have to be resized; until it is there,
    photos are resized without it.

    Nothing else in the block may import torch: threads that import parts of an unfinished torch fail.
    """
    global _torch_ahead
    ahead = _torch_ahead = _TorchAhead()
    try:
        yield
    finally:
        _torch_ahead = None
        ahead.finish()


def _sooner_without_torch(pixels: npt.NDArray[np.uint8]) -> bool:
    """Whether torch is not imported yet, and this process resizes too few pixels for it to be worth the time."""
    global _resized
    _resized += pixels.shape[0] * pixels.shape[1]
    if (ahead := _torch_ahead) is not None:
        if _resized > _TO_BE_RESIZED and "torch" not in sys.modules:
            ahead.start()
        if ahead.unfinished:
            return True
    return _resized <= _FEW and "torch" not in sys.modules


def _pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Pillow's own memory of an RGB picture as ``(H, W, 4)``, the fourth a padding byte, or a ``(H, W, 3)`` copy.

    Temporary arrays of a photo's size would cost an ingestion more than the resizing: the system maps their pages
    one by one, and unmaps them again.
    """
    try:
        (_, memory) = pa.array(image).flatten().buffers()
    except ValueError:  # Pillow keeps a large picture in several blocks
        return np.array(image)
    held = (ctypes.c_uint8 * memory.size).from_address(memory.address)
    held.owner = memory  # keeps Pillow's memory alive as long as the array
    return np.frombuffer(held, np.uint8).reshape(image.height, image.width, 4)


@dataclass(frozen=True)
class PhotoReader:
    """Decodes photos under one protocol."""

    protocol: str

    def each(
        self,
        paths: Sequence[Path],
        use: Callable[[Photo | UnreadableImageError], T],
    ) -> list[T]:
        """``use`` of every photo, or of the error that kept it from being read. ``use`` must not keep a photo."""

        def read(pixels: Pixels | UnreadableImageError) -> T:
            return use(
                pixels if isinstance(pixels, UnreadableImageError) else as_photo(pixels, self.protocol)
            )

        return decoded_each(paths, read, how=decoder(self.protocol), most=MAX_PIXELS)

    def squared(
        self,
        paths: Sequence[Path],
        wanted: Sequence[Sequence[Wanted]],
        use: Callable[[Squarable | UnreadableImageError], T],
    ) -> list[T]:
        """The same, where ``use`` asks each photo only for its wanted squares, whose boxes may reach out of it."""
        if not with_opencv(self.protocol):
            return self.each(paths, use)
        return squares_each(paths, wanted, lambda squares: use(_squared(squares)), most=MAX_PIXELS)


def decoder(protocol: str) -> str:
    """What photos are decoded with under a protocol, see `mmer_core.confined.picture_protocol`."""
    return OPENCV if with_opencv(protocol) else PILLOW


def as_photo(pixels: npt.NDArray[np.uint8], protocol: str) -> PillowPhoto | Cv2Photo:
    """Decoded pixels ``(H, W, 3)`` or, of Pillow, ``(H, W, 4)``, to be resized as a protocol does it."""
    return Cv2Photo(pixels) if with_opencv(protocol) else PillowPhoto(pixels)


def photo_reader(protocol: str) -> PhotoReader:
    """The reader of a protocol.

    Raises:
        ConfigError: The protocol is one with OpenCV, which is not installed.
    """
    if with_opencv(protocol) and find_spec("cv2") is None:
        raise ConfigError(_NO_OPENCV)
    return PhotoReader(protocol)


def read_cv2(path: Path) -> Cv2Photo:
    """Decode one photo as the reference does; truncated JPEGs, which OpenCV fills with gray, are kept.

    Raises:
        UnreadableImageError: The file is missing, too large, or of no format that OpenCV reads.
    """
    return Cv2Photo(decoded(path, how=OPENCV, most=MAX_PIXELS))


@cache
def cv2_module() -> ModuleType:
    """Import OpenCV, which only the protocols ``mat2py`` and ``notebook`` need.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise ConfigError(_NO_OPENCV) from None
    return cv2

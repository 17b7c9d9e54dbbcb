"""Decoding with OpenCV, as EMOTIC's reference converter does, and resizing, in the child."""

import contextlib
from collections.abc import Callable
from typing import IO, Any

import cv2
import numpy as np
import numpy.typing as npt

from mmer_core.confined.picture_bounds import Refused, check_size, plain_jpeg, sniffed, unknown
from mmer_core.confined.picture_protocol import Request
from mmer_core.confined.picture_region import KEPT_BYTES, Region
from mmer_core.confined.squares import bytes_of, inside

Pixels = npt.NDArray[np.uint8]

cv2.setNumThreads(1)  # every core has a child


def decode(
    request: Request, number: int, path: str | None, file: IO[bytes], region: Region
) -> tuple[int, int]:
    """Put the pixels into shared memory, or the squares that are wanted; return width and height of the picture."""
    return (_squares if request.squares else _whole)(request, number, path, file, region)


def _whole(
    request: Request, number: int, path: str | None, file: IO[bytes], region: Region
) -> tuple[int, int]:
    """Decode directly into the shared memory, where that is possible."""

    def room(size: int) -> Pixels:
        memory, place = region.room(size)
        return np.frombuffer(memory, np.uint8, size, place)

    there, pixels = _by_opencv(request, path, file, room)
    height, width = pixels.shape[:2]
    if not there:
        region.write(pixels.ctypes.data, pixels.nbytes)
    return width, height


def _squares(
    request: Request, number: int, path: str | None, file: IO[bytes], region: Region
) -> tuple[int, int]:
    """Resize from memory of this process, the same for every picture, so that it is in the processor's cache."""
    _, pixels = _by_opencv(request, path, file, _frame)
    height, width = pixels.shape[:2]
    squares = inside(request.squares[number], (width, height))
    memory, place = region.room(bytes_of(squares))
    for side, (x1, y1, x2, y2) in squares:
        square = np.frombuffer(memory, np.uint8, 3 * side * side, place).reshape(side, side, 3)
        cv2.resize(pixels[y1:y2, x1:x2], (side, side), dst=square)
        place += square.nbytes
    return width, height


_kept: list[Pixels] = []


def _frame(size: int) -> Pixels:
    """So many bytes, of the memory that the last picture was in."""
    if not _kept or len(_kept[0]) < size:
        _kept[:] = [np.empty(size, np.uint8)]
    frame = _kept[0][:size]
    if size > KEPT_BYTES:
        _kept.clear()
    return frame


def _by_opencv(
    request: Request, path: str | None, file: IO[bytes], room: Callable[[int], Pixels]
) -> tuple[bool, Pixels]:
    """Decode as the reference converter does, including truncated JPEGs, which OpenCV fills with gray.

    Returns:
        Whether the pixels are where ``room`` gave so many bytes, and the pixels, ``(H, W, 3)`` RGB.
    """
    assert path is not None
    size = plain_jpeg(file) if "JPEG" in request.formats else None
    if size is None:
        size = _jpeg_by_pillow(request, file)
    else:
        check_size(*size, request.most)
    if size is not None:
        # The shape may differ from the header's, or this OpenCV lack the function.
        with contextlib.suppress(cv2.error, TypeError):
            width, height = size
            pixels = room(3 * width * height).reshape(height, width, 3)
            if cv2.imread(path, pixels, cv2.IMREAD_COLOR_RGB) is None:
                raise Refused("OpenCV cannot decode it")
            return True, pixels
    # From the path: OpenCV does not complete truncated files that it reads from memory.
    decoded: Any = cv2.imread(path, cv2.IMREAD_COLOR_RGB)
    if decoded is None:
        raise Refused("OpenCV cannot decode it")
    return False, decoded


def _jpeg_by_pillow(request: Request, file: IO[bytes]) -> tuple[int, int] | None:
    """Check a picture of any kind; return width and height of a JPEG that is upright. Raises `Refused`."""
    from mmer_core.confined.picture_colours import check_for_opencv
    from mmer_core.confined.picture_files import opened, prepare_pillow

    prepare_pillow()
    file.seek(0)
    if sniffed(file.read(16), request.formats) is None:
        raise unknown(None, request.formats)
    try:
        header = opened(file, request.formats, request.most)
    except (Refused, MemoryError):
        raise
    except Exception:
        return None  # not a reason to refuse: OpenCV reads files that Pillow does not
    check_for_opencv(header)
    return header.size if header.format == "JPEG" and "exif" not in header.info else None

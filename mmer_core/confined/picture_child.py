"""The child that decodes pictures: ``python -m mmer_core.confined.picture_child REGION``.

It reads requests from standard input, one at a time, and replies on standard output; pixels go into shared memory, the
file with the descriptor ``REGION``. It exits when its standard input closes, so it does not outlive its parent.
"""

import contextlib
import ctypes
import io
import mmap
import os
import signal
import sys
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from PIL import Image

from mmer_core.confined.limits import confine, end_after
from mmer_core.confined.picture_bounds import Refused, sniffed, unknown
from mmer_core.confined.picture_colours import check_for_opencv
from mmer_core.confined.picture_files import open_file, opened, prepare_pillow, upright_rgb
from mmer_core.confined.picture_limits import MAX_PIXELS, memory_for
from mmer_core.confined.picture_protocol import (
    DECODED,
    LATER,
    LENGTH_BYTES,
    OUT_OF_MEMORY,
    PILLOW,
    READY,
    REFUSED,
    ROOM,
    Reply,
    Request,
    unpack_length,
)
from mmer_core.confined.squares import bytes_of, inside

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

_PAGE = 2**12
_KEPT_BYTES = 2**26
"""Memory that Pillow may keep from one picture to the next."""


class _NoRoom(Exception):
    """The shared memory has no room for this picture next to those before it."""


class Region:
    """Memory shared by parent and child. It grows, and never shrinks."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._map = mmap.mmap(handle, os.fstat(handle).st_size)
        self._place = 0

    def start(self) -> None:
        """Discard the contents, which the parent has read."""
        self._place = 0

    def read(self, size: int) -> bytes:
        """The bytes that the parent put at the start."""
        if size > len(self._map):  # the parent enlarged it
            self._map = mmap.mmap(self._handle, os.fstat(self._handle).st_size)
        return self._map[:size]

    def room(self, size: int) -> tuple[mmap.mmap, int]:
        """The memory, and the offset of this many free bytes in it. Raises `_NoRoom`."""
        if self._place + size > (ROOM if self._place else len(self._map)):
            if self._place:
                raise _NoRoom
            os.ftruncate(self._handle, max(size, os.fstat(self._handle).st_size))
            self._map = mmap.mmap(self._handle, size)
        return self._map, self._place

    def write(self, address: int, size: int) -> None:
        """Copy bytes from a memory address."""
        memory, place = self.room(size)
        ctypes.memmove(ctypes.addressof(ctypes.c_char.from_buffer(memory, place)), address, size)

    def filled(self, size: int) -> int:
        """Mark this many bytes as used and return their offset."""
        place = self._place
        self._place += -(-size // _PAGE) * _PAGE
        return place


def main(handle: int) -> None:
    """Serve requests until the parent closes its end."""
    confine(memory_for(MAX_PIXELS))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    prepare_pillow()
    region = Region(handle)
    requests, replies = sys.stdin.buffer, os.dup(1)
    # Messages printed by libraries cannot be attributed to a photo.
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.write(replies, READY)
    os.dup2(quiet, 2)
    while request := _next(requests):
        confine(memory_for(request.most))
        region.start()
        for number, path in enumerate(request.paths or (None,)):
            _set_clocks(request.cpu_seconds, request.seconds)
            reply = _serve(request, number, path, region)
            _set_clocks(0, 0)
            os.write(replies, reply.pack())
            if reply.status == LATER:
                break


def _next(requests: IO[bytes]) -> Request | None:
    length = requests.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        return None
    size = unpack_length(length)
    body = requests.read(size)
    return Request.unpack(body) if len(body) == size else None


def _set_clocks(cpu_seconds: float, seconds: float) -> None:
    end_after(seconds)
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)


def _serve(request: Request, number: int, path: str | None, region: Region) -> Reply:
    file = None
    try:
        file = io.BytesIO(region.read(request.size)) if path is None else open_file(path)
        if request.squares:
            width, height = _squares_with_opencv(request, number, path, file, region)
        else:
            decode = _with_pillow if request.how == PILLOW else _with_opencv
            width, height = decode(request, path, file, region)
        place = region.filled(request.bytes_of(number, width, height))
        return Reply(DECODED, width, height, place)
    except _NoRoom:
        return Reply(LATER)
    except Refused as refusal:
        return Reply(REFUSED, message=str(refusal))
    except MemoryError:
        return Reply(OUT_OF_MEMORY)
    # Decoders raise whatever a damaged file triggers (struct.error, KeyError, cv2.error, ...).
    except Exception as error:
        text = str(error).replace(repr(file), "the file") if file else str(error)
        return Reply(REFUSED, message=" ".join(text.split()) or type(error).__name__)
    finally:
        if file is not None:
            file.close()


def _with_pillow(request: Request, path: str | None, file: IO[bytes], region: Region) -> tuple[int, int]:
    image = opened(file, request.formats, request.most)
    there = _decode_in_place(image, region)
    image = upright_rgb(image, file, request.most)
    size = width, height = image.size
    if image.im is not there:
        region.write(_address(image), 4 * width * height)
    del image
    if 4 * width * height > _KEPT_BYTES:
        Image.core.clear_cache()
    return size


def _with_opencv(request: Request, path: str | None, file: IO[bytes], region: Region) -> tuple[int, int]:
    """Let OpenCV decode directly into the shared memory, where that is possible."""

    def room(size: int) -> "Pixels":
        import numpy as np

        memory, place = region.room(size)
        return np.frombuffer(memory, np.uint8, size, place)

    there, pixels = _by_opencv(request, path, file, room)
    height, width = pixels.shape[:2]
    if not there:
        region.write(pixels.ctypes.data, pixels.nbytes)
    return width, height


def _squares_with_opencv(
    request: Request, number: int, path: str | None, file: IO[bytes], region: Region
) -> tuple[int, int]:
    """Resize from memory of this process, the same for every picture, so that it is in the processor's cache."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)  # every core has a child
    _, pixels = _by_opencv(request, path, file, _frame)
    height, width = pixels.shape[:2]
    squares = inside(request.squares[number], (width, height))
    memory, place = region.room(bytes_of(squares))
    for side, (x1, y1, x2, y2) in squares:
        square = np.frombuffer(memory, np.uint8, 3 * side * side, place).reshape(side, side, 3)
        cv2.resize(pixels[y1:y2, x1:x2], (side, side), dst=square)
        place += square.nbytes
    return width, height


_kept: "list[Pixels]" = []


def _frame(size: int) -> "Pixels":
    """So many bytes, of the memory that the last picture was in."""
    import numpy as np

    if not _kept or len(_kept[0]) < size:
        _kept[:] = [np.empty(size, np.uint8)]
    frame = _kept[0][:size]
    if size > _KEPT_BYTES:
        _kept.clear()
    return frame


def _by_opencv(
    request: Request, path: str | None, file: IO[bytes], room: "Callable[[int], Pixels]"
) -> "tuple[bool, Pixels]":
    """Decode as the reference converter does, including truncated JPEGs, which OpenCV fills with gray.

    Returns:
        Whether the pixels are where ``room`` gave so many bytes, and the pixels, ``(H, W, 3)`` RGB.
    """
    import cv2

    assert path is not None
    if sniffed(file.read(16), request.formats) is None:
        raise unknown(None, request.formats)
    try:
        header = opened(file, request.formats, request.most)
    except (Refused, MemoryError):
        raise
    except Exception:
        header = None  # not a reason to refuse: OpenCV reads files that Pillow does not
    if header is not None:
        check_for_opencv(header)
    if header is not None and header.format == "JPEG" and "exif" not in header.info:
        # The shape may differ from the header's, or this OpenCV lack the function.
        with contextlib.suppress(cv2.error, TypeError):
            width, height = header.size
            pixels = room(3 * width * height).reshape(height, width, 3)
            if cv2.imread(path, pixels, cv2.IMREAD_COLOR_RGB) is None:
                raise Refused("OpenCV cannot decode it")
            return True, pixels
    # From the path: OpenCV does not complete truncated files that it reads from memory.
    decoded: Any = cv2.imread(path, cv2.IMREAD_COLOR_RGB)
    if decoded is None:
        raise Refused("OpenCV cannot decode it")
    return False, decoded


def _decode_in_place(image: Image.Image, region: Region) -> object:
    """Let Pillow decode an RGB JPEG, the format of most photos, directly into the shared memory; None for others.

    Other formats can skip pixels, and would show those of the previous picture there.
    """
    if image.format != "JPEG" or image.mode != "RGB":
        return None
    memory, place = region.room(4 * image.width * image.height)
    image.im = Image.core.map_buffer(memory, image.size, "raw", place, ("RGB", 0, 1))
    return image.im


class _ArrowArray(ctypes.Structure):
    """https://arrow.apache.org/docs/format/CDataInterface.html"""


_ArrowArray._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "null_count", "offset", "n_buffers", "n_children")),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowArray))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def _address(image: Image.Image) -> int:
    """The address of Pillow's memory of an RGB picture, four bytes per pixel; valid while the picture exists."""
    _, capsule = image.__arrow_c_array__()
    array = _ArrowArray.from_address(_pointer(capsule, b"arrow_array"))
    return int(array.children[0].contents.buffers[1])


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Decoding with Pillow into shared memory, in the child."""

import ctypes
from typing import IO

from PIL import Image

from mmer_core.confined.picture_files import opened, prepare_pillow, upright_rgb
from mmer_core.confined.picture_protocol import Request
from mmer_core.confined.picture_region import KEPT_BYTES, Region

prepare_pillow()


def decode(
    request: Request, number: int, path: str | None, file: IO[bytes], region: Region
) -> tuple[int, int]:
    image = opened(file, request.formats, request.most)
    there = _decode_in_place(image, region)
    image = upright_rgb(image, file, request.most)
    size = width, height = image.size
    if image.im is not there:
        region.write(_address(image), 4 * width * height)
    del image
    if 4 * width * height > KEPT_BYTES:
        Image.core.clear_cache()
    return size


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

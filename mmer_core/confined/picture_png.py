"""Detecting PNG files with damaged or truncated data, which Pillow shows without an error."""

import os
import struct
import zlib
from collections.abc import Iterator
from typing import IO

from PIL import Image

from mmer_core.confined.picture_bounds import Refused

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row and steps of the seven passes of an interlaced picture."""
_PIECE = 2**20


def check_png(image: Image.Image, file: IO[bytes]) -> None:
    """Raise `Refused` for a decoded PNG whose data do not match their checksums, or lack pixels."""
    if any(zlib.crc32(piece, zlib.crc32(b"IDAT")) != checksum for piece, checksum in _data(file)):
        raise Refused("the image file is damaged: its pixels do not match their checksum")
    width, height = image.size
    last = image.crop((0, height - 1, width, height))
    # Missing pixels are at the end and decode as zero: only then is the length of the data checked.
    if last.getbbox(alpha_only=False) is None and _unpacked(file, needed := _needed(file)) < needed:
        raise Refused("the image file is truncated: it has fewer pixels than it says")


def _needed(file: IO[bytes]) -> int:
    """Bytes of all rows before compression."""
    file.seek(16)
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", file.read(13))
    bits = depth * _CHANNELS[kind]
    parts = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // step), -(-(height - y) // down)) for x, y, step, down in parts]
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)


def _unpacked(file: IO[bytes], enough: int) -> int:
    """Length of the decompressed data in bytes, counted up to ``enough``."""
    unpack, size = zlib.decompressobj(), 0
    for data, _ in _data(file):
        piece = data
        while piece and size < enough and not unpack.eof:
            size += len(unpack.decompress(piece, _PIECE))
            piece = unpack.unconsumed_tail
    return size


def _data(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """The compressed data of each chunk, and its checksum."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            yield file.read(length), int.from_bytes(file.read(4))
        else:
            file.seek(length + 4, os.SEEK_CUR)

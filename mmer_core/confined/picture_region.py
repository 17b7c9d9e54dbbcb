"""The child's side of the memory that it shares with its parent."""

import ctypes
import mmap
import os

from mmer_core.confined.picture_protocol import ROOM

_PAGE = 2**12
KEPT_BYTES = 2**26
"""Memory that may be kept from one picture to the next."""


class NoRoom(Exception):
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
        """The memory, and the offset of this many free bytes in it. Raises `NoRoom`."""
        if self._place + size > (ROOM if self._place else len(self._map)):
            if self._place:
                raise NoRoom
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

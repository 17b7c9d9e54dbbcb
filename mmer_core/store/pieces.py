"""Digests of the pieces of a large file, so that some of its bytes can be read and checked without the others."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

PIECE = 1 << 20
"""Bytes of a piece, but for the last; a smaller file has none."""
MOST = 1 << 14
"""Pieces of a file; of a larger one they are twice as large, and so on: a manifest stays below some megabytes."""

_HEX = 64


class Pieces(BaseModel):
    """A file cut into pieces of ``size`` bytes, but for the last, with the SHA-256 of each, one behind the other in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=1)
    sha256: str = Field(pattern="^([0-9a-f]{64})+$")

    @property
    def count(self) -> int:
        return len(self.sha256) // _HEX

    def digest(self, number: int) -> str:
        """SHA-256 of a piece, in hex."""
        return self.sha256[_HEX * number : _HEX * (number + 1)]

    def of_bytes(self, start: int, stop: int) -> range:
        """The pieces that hold the bytes ``start:stop``."""
        return range(start // self.size, -(-stop // self.size)) if stop > start else range(0)


@dataclass(frozen=True)
class Digests:
    """Of a file: its size in bytes and SHA-256, and those of its pieces if it has several."""

    size: int
    sha256: str
    pieces: Pieces | None

    @staticmethod
    def of(path: Path, beside: Executor) -> "Digests":
        """Read a file once, a little at a time; its pieces are hashed ``beside`` the whole."""
        expected = path.stat().st_size
        size = PIECE
        while size * MOST < expected:
            size *= 2
        several = expected > size
        buffer = memoryview(bytearray(min(PIECE, max(1, expected))))
        whole, piece, read = hashlib.sha256(), hashlib.sha256(), 0
        done: list[str] = []
        with path.open("rb") as file:
            while taken := file.readinto(buffer):
                hashing = beside.submit(piece.update, buffer[:taken]) if several else None
                whole.update(buffer[:taken])
                read += taken
                if hashing:
                    hashing.result()  # before the buffer is written over
                if several and read % size == 0:  # a piece is a multiple of what is read at once
                    done.append(piece.hexdigest())
                    piece = hashlib.sha256()
        if several and read % size:
            done.append(piece.hexdigest())
        return Digests(read, whole.hexdigest(), Pieces(size=size, sha256="".join(done)) if several else None)


def runs(numbers: list[int], most: int) -> Iterator[range]:
    """Rising numbers as ranges of neighbours, of at most so many each."""
    start = 0
    for place in range(1, len(numbers) + 1):
        if place == len(numbers) or numbers[place] != numbers[place - 1] + 1 or place - start == most:
            yield range(numbers[start], numbers[place - 1] + 1)
            start = place

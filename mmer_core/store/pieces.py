"""Digests of the pieces of a large file, so that some of its bytes can be read and checked without the others."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

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


class Digests:
    """Of a file that is read once: its SHA-256, and those of its pieces if it has several.

    Attributes:
        size: Bytes that were read.
    """

    def __init__(self, size: int) -> None:
        self.size = 0
        self._whole = hashlib.sha256()
        self._piece = PIECE
        while self._piece * MOST < size:
            self._piece *= 2
        self._several = size > self._piece
        self._current, self._left = hashlib.sha256(), self._piece
        self._done: list[str] = []

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read a file."""
        found = cls(path.stat().st_size)
        read = memoryview(bytearray(min(PIECE, max(1, path.stat().st_size))))
        with path.open("rb") as file:
            while size := file.readinto(read):
                found._take(read[:size])
        return found

    def _take(self, chunk: memoryview) -> None:
        self.size += len(chunk)
        self._whole.update(chunk)
        if not self._several:
            return
        # A piece is a multiple of what is read at once.
        self._current.update(chunk)
        self._left -= len(chunk)
        if not self._left:
            self._close()

    def _close(self) -> None:
        self._done.append(self._current.hexdigest())
        self._current, self._left = hashlib.sha256(), self._piece

    @property
    def sha256(self) -> str:
        return self._whole.hexdigest()

    @property
    def pieces(self) -> Pieces | None:
        if not self._several:
            return None
        if self._left < self._piece:
            self._close()
        return Pieces(size=self._piece, sha256="".join(self._done))


def runs(numbers: list[int], most: int) -> Iterator[range]:
    """Rising numbers as ranges of neighbours, of at most so many each."""
    start = 0
    for place in range(1, len(numbers) + 1):
        if place == len(numbers) or numbers[place] != numbers[place - 1] + 1 or place - start == most:
            yield range(numbers[start], numbers[place - 1] + 1)
            start = place

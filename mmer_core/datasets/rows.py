"""An array of pictures whose final length is known only when all have been tried."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

CHUNK = 64
"""Rows copied at a time: memory stays bounded."""


class RowWriter:
    """Memory-mapped ``(N, side, side, 3)`` uint8 rows, written in any order and by any thread.

    Rows go to a ``.partial`` file; `finish` drops the rows that failed and gives the file its final name.
    """

    def __init__(self, path: Path, rows: int, side: int) -> None:
        self.side = side
        self._path = path
        self._partial = path.with_suffix(".partial")
        self._shape = (rows, side, side, 3)
        # A file of no bytes cannot be mapped.
        self._array = (
            open_memmap(self._partial, mode="w+", dtype=np.uint8, shape=self._shape) if rows else None
        )

    def write(self, row: int, image: npt.NDArray[np.uint8]) -> None:
        """Store one RGB picture ``(side, side, 3)`` of the writer's size."""
        assert self._array is not None
        self._array[row] = image

    def finish(self, keep: list[int]) -> None:
        """Keep these rows, in this order; with none, no file remains."""
        if self._array is None:
            return
        self._array.flush()
        if not keep:
            self._path.unlink(missing_ok=True)
        elif len(keep) == len(self._array):
            self._partial.replace(self._path)
        else:
            self._compact(keep)
        self._array = None
        self._partial.unlink(missing_ok=True)

    def _compact(self, keep: list[int]) -> None:
        assert self._array is not None
        target = self._path.with_suffix(".compact")
        shape = (len(keep), *self._shape[1:])
        compact = open_memmap(target, mode="w+", dtype=np.uint8, shape=shape)
        for start in range(0, len(keep), CHUNK):
            compact[start : start + CHUNK] = self._array[keep[start : start + CHUNK]]
        compact.flush()
        target.replace(self._path)

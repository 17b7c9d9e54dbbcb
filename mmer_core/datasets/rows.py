"""An image array whose final length is known only after all images were tried."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib.format import write_array_header_1_0

from mmer_core.durable import sync


class RowWriter:
    """``(N, side, side, 3)`` uint8 rows of an npy file, written in any order and from any thread.

    Rows go to a file of full size, ``<name>.partial``, which survives a crash, so a later writer of the same rows
    resumes from it. They are written with plain file I/O rather than a memory map, because a map's dirty pages count
    as memory of the process and would grow with the dataset.

    Args:
        path: The finished npy file.
        rows: ``N``, of which `finish` may drop some.
        side: Height and width of every picture in pixels.
    """

    def __init__(self, path: Path, rows: int, side: int) -> None:
        self.path = path
        self.side = side
        self._partial = path.with_suffix(".partial")
        self._rows = rows
        self._row_bytes = side * side * 3
        self._header = _npy_header(rows, side)
        self._file = -1

    @property
    def begun(self) -> bool:
        """Whether an earlier writer left a file with some or all of the rows."""
        return self.path.exists() or (self._partial.exists() and self._partial.stat().st_size == self._size)

    def open(self) -> None:
        """Allocate all rows; rows of an earlier writer are kept."""
        if not self.path.exists():
            self._file = os.open(self._partial, os.O_RDWR | os.O_CREAT, 0o644)
            os.truncate(self._file, self._size)
            _write(self._file, self._header, 0)

    def write(self, row: int, image: npt.NDArray[np.uint8]) -> None:
        """Write one RGB picture ``(side, side, 3)`` uint8 of the writer's size."""
        assert image.nbytes == self._row_bytes
        _write(self._file, np.ascontiguousarray(image).data.cast("B"), self._place(row))

    def sync(self) -> None:
        """Flush to disk: the rows written so far then survive a power failure."""
        sync(self._file)

    def finish(self, keep: list[int]) -> None:
        """Keep only these rows, in this order, and give the file its final name; without rows, no file remains."""
        if keep and not self.path.exists():
            if len(keep) < self._rows:
                self._compact(keep)
            else:
                self._partial.replace(self.path)
        self.close()
        self._partial.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file and leave the rows for a later writer."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _compact(self, keep: list[int]) -> None:
        target = self.path.with_suffix(".compact")
        with target.open("wb") as compact:
            compact.write(_npy_header(len(keep), self.side))
            for row in keep:
                compact.write(os.pread(self._file, self._row_bytes, self._place(row)))
        target.replace(self.path)

    @property
    def _size(self) -> int:
        return self._place(self._rows)

    def _place(self, row: int) -> int:
        return len(self._header) + row * self._row_bytes


def _npy_header(rows: int, side: int) -> bytes:
    header = BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": (rows, side, side, 3)}
    write_array_header_1_0(header, fields)
    return header.getvalue()


def _write(file: int, data: bytes | memoryview, place: int) -> None:
    """Write all bytes: on a nearly full disk one call may write fewer, and only the next one fails."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest, place)
        rest, place = rest[written:], place + written

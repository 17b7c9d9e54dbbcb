"""Parts of an artifact: files one by one, and rows of arrays, of which only the pieces are fetched that hold them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmer_core.errors import ArtifactCorrupt
from mmer_core.store.backend import disk_errors
from mmer_core.store.local import bytes_below
from mmer_core.store.manifest import CURE, FileEntry, Manifest
from mmer_core.store.pieces import Pieces, runs

_AT_ONCE = 32
"""Pieces of one request."""
_PRESENT = ".pieces"
"""Of the file that says which pieces of another one are there: a byte each, 1 or 0."""

_verified: dict[Path, tuple[int, int, int]] = {}
"""Whole files that this process has verified, as they were then."""

ReadRange = Callable[[str, int, int], bytes]
"""The bytes ``start:stop`` of a content, by its SHA-256."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The files of an artifact, fetched and verified when they are asked for; implements `mmer_core.files.Files`.

    Attributes:
        manifest: Names the files.
        place: Folder for what is fetched, which all processes of the machine share.
        alone: Holds the artifact's lock on this machine.
        materialise: Writes a whole file to a path, verified.
        read_range: Reads some bytes of a content.
        whole: Fetches everything, and gives the folder.
        stored: The path of a content on this machine, or None where it is elsewhere.
        attempts: How often to read what arrives damaged.
        grew: Gets the number of bytes of every fetch.
    """

    manifest: Manifest
    place: Path
    alone: Callable[[], AbstractContextManager[None]]
    materialise: Callable[[FileEntry, Path], None]
    read_range: ReadRange
    whole: Callable[[], Path]
    stored: Callable[[str], Path | None]
    attempts: int
    grew: Callable[[int], None]

    @cached_property
    def _entries(self) -> dict[str, FileEntry]:
        return {entry.path: entry for entry in self.manifest.files}

    @property
    def folder(self) -> Path:
        """A folder with all files, which are fetched."""
        return self.whole()

    def has(self, name: str) -> bool:
        """Whether the artifact has such a file."""
        return name in self._entries

    def path(self, name: str) -> Path:
        """A whole file on this machine."""
        entry, target = self._entry(name), self.place / "whole" / name
        if target in _verified and _verified[target] == _state(target):
            return target
        with disk_errors(target), self.alone():
            if not _holds(target, entry):
                target.unlink(missing_ok=True)
                self.materialise(entry, target)
                self.grew(bytes_below(target))
            state = _state(target)
        if state is not None:
            _verified[target] = state
        return target

    def array(self, name: str) -> Any:
        """An array of an npy file; rows are fetched when they are indexed."""
        pieces = self._entry(name).pieces
        if pieces is None:
            return np.load(self.path(name), mmap_mode="r", allow_pickle=False)
        reader = PieceReader(self, self._entry(name), pieces)
        reader.need(0, pieces.size)  # the header
        array = np.load(reader.path, mmap_mode="r", allow_pickle=False)
        if not array.flags.c_contiguous or not array.ndim:
            return np.load(self.path(name), mmap_mode="r", allow_pickle=False)
        return StoredArray(array, array.offset, reader.need)

    def bytes_of(self, name: str) -> Any:
        """The bytes of a file ``(n,)`` uint8, fetched when they are indexed."""
        pieces = self._entry(name).pieces
        if pieces is None:
            return np.memmap(self.path(name), np.uint8, mode="r")
        reader = PieceReader(self, self._entry(name), pieces)
        return StoredArray(np.memmap(reader.path, np.uint8, mode="r"), 0, reader.need)

    def _entry(self, name: str) -> FileEntry:
        if name not in self._entries:
            raise ArtifactCorrupt(f"{self.manifest.key} has no {name}: {CURE}")
        return self._entries[name]


class PieceReader:
    """Fetches and verifies pieces of one file.

    Where the store is on this machine, its own file is read in place. Otherwise pieces are written to their places in a file
    of full size, the rest of which is a hole, under a lock: a piece is fetched once by a machine.
    """

    def __init__(self, parts: Parts, entry: FileEntry, pieces: Pieces) -> None:
        self._parts, self._entry, self._pieces = parts, entry, pieces
        self._stored = parts.stored(entry.sha256)
        self.path = self._stored or parts.place / "pieces" / entry.path
        self._verified: set[int] = set()
        self._one = threading.Lock()
        with disk_errors(self.path):
            if self._stored is None:
                with parts.alone():
                    self._make()
            # Held open: what maps the file must see what is written, even if the name is removed meanwhile.
            self._file = self.path.open("rb" if self._stored else "r+b")
            self._marks = None if self._stored else self._present.open("r+b")

    def need(self, start: int, stop: int) -> None:
        """Have the bytes ``start:stop``, verified once by this process.

        Raises:
            ArtifactCorrupt: Stored bytes are damaged or missing.
        """
        wanted = self._pieces.of_bytes(start, min(stop, self._entry.size))
        if self._verified.issuperset(wanted):
            return
        with self._one, disk_errors(self.path):
            missing = [number for number in wanted if number not in self._verified]
            if self._stored is not None:
                self._check(missing)
            else:
                with self._parts.alone():
                    self._fetch(missing)
            self._verified.update(missing)

    @property
    def _present(self) -> Path:
        return self.path.with_name(self.path.name + _PRESENT)

    def _make(self) -> None:
        """The file with holes, and what is present of it, unless they are there."""
        if self.path.is_file() and self.path.stat().st_size == self._entry.size and self._present.is_file():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._present.unlink(missing_ok=True)
        with self.path.open("wb") as file:
            file.truncate(self._entry.size)
        self._present.write_bytes(bytes(self._pieces.count))

    def _check(self, numbers: Collection[int]) -> None:
        for number in numbers:
            if not self._is_right(number):
                raise self._damaged()

    def _fetch(self, numbers: list[int]) -> None:
        assert self._marks is not None
        here, marks = self._file.fileno(), self._marks.fileno()
        present = os.pread(marks, self._pieces.count, 0)
        # What was written when the power went may be a hole still, and disks decay.
        absent = [number for number in numbers if not (present[number] and self._is_right(number))]
        for run in runs(absent, _AT_ONCE):
            for number, data in self._read(run):
                os.pwrite(here, data, number * self._pieces.size)
                os.pwrite(marks, b"\1", number)
                self._parts.grew(len(data))

    def _is_right(self, number: int) -> bool:
        return self._right(
            number, os.pread(self._file.fileno(), self._pieces.size, number * self._pieces.size)
        )

    def _read(self, run: range) -> Iterator[tuple[int, bytes]]:
        size = self._pieces.size
        start, stop = run.start * size, min(run.stop * size, self._entry.size)
        for _ in range(self._parts.attempts):
            data = self._parts.read_range(self._entry.sha256, start, stop)
            found = [(number, data[(number - run.start) * size :][:size]) for number in run]
            if all(self._right(number, piece) for number, piece in found):
                yield from found
                return
        raise self._damaged()

    def _right(self, number: int, data: bytes) -> bool:
        return sha256(data).hexdigest() == self._pieces.digest(number)

    def _damaged(self) -> ArtifactCorrupt:
        return ArtifactCorrupt(f"{self._entry.path} of {self._parts.manifest.key} is damaged: {CURE}")


class StoredArray:
    """An array that is memory-mapped from a file with holes; indexing it by rows fetches what is not there.

    Args:
        array: ``(N, ...)``, mapped, in C order.
        offset: Where it begins in its file.
        need: Fetches bytes ``start:stop`` of the file.
    """

    def __init__(self, array: npt.NDArray[Any], offset: int, need: Callable[[int, int], None]) -> None:
        self._array, self._offset, self._need = array, offset, need
        self._row = array.nbytes // max(1, len(array))
        self.shape, self.dtype, self.ndim, self.nbytes = array.shape, array.dtype, array.ndim, array.nbytes

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: Any) -> Any:
        rows = index[0] if isinstance(index, tuple) and index else index
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                self._have(start, stop)
                return self._array[index]
        for first, last in _spans(np.atleast_1d(np.arange(len(self))[rows])):
            self._have(first, last)
        return self._array[index]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def _have(self, start: int, stop: int) -> None:
        if stop > start:
            self._need(self._offset + start * self._row, self._offset + stop * self._row)


def _spans(rows: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Rows as ranges of neighbours."""
    rows = np.unique(rows)
    for part in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
        if len(part):
            yield int(part[0]), int(part[-1]) + 1


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _holds(path: Path, entry: FileEntry) -> bool:
    if not path.is_file() or path.stat().st_size != entry.size:
        return False
    with path.open("rb") as file:
        digest = sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest() == entry.sha256

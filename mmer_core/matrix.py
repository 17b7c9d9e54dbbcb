"""Matrices of features, a row a sample: tensors in memory, or rows that stay on disk until they are asked for.

What is estimated of a whole matrix is computed block by block, in the same blocks wherever the rows are: the same bits come
of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from mmer_core.heavy import Tensor, torch
from mmer_core.transfer import to_device

VALUES_AT_ONCE = 2**25
"""Of a block, 128 MB of float32; the least memory that a pass over a matrix takes."""

Blocks: TypeAlias = Callable[[], Iterable[Tensor]]
"""Starts a pass over the rows of a matrix, in order."""


class Source(Protocol):
    """Where rows are read from."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def read(self, rows: npt.NDArray[np.int64]) -> Tensor:
        """``(B, D)`` float32, on the CPU."""
        ...


class FileRows:
    """Rows of a memory-mapped array ``(N, D)``."""

    def __init__(self, array: npt.NDArray[np.float32]) -> None:
        self._array = array
        self.shape = (array.shape[0], array.shape[1])

    def read(self, rows: npt.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self._array[rows])


class MeanRows:
    """Means of the rows of another source that share an owner ``(T,)``; zeros for an owner without any."""

    def __init__(self, source: Source, owner: npt.NDArray[np.int64], count: int) -> None:
        self._source = source
        self._order = np.argsort(owner, kind="stable")
        self._starts = np.concatenate([[0], np.bincount(owner, minlength=count).cumsum()])
        self.shape = (count, source.shape[1])

    def read(self, rows: npt.NDArray[np.int64]) -> Tensor:
        starts, counts = self._starts[rows], self._starts[rows + 1] - self._starts[rows]
        within = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        own = self._order[np.repeat(starts, counts) + within]
        owner = torch.from_numpy(np.repeat(np.arange(len(rows)), counts))
        return mean_by_sample(self._source.read(own), owner, len(rows))


class StoredRows:
    """A matrix ``(N, D)`` whose rows are read when they are indexed by a tensor, and then are on its device.

    Args:
        source: Holds the rows.
        index: ``(N,)`` row of the source that each is; below 0, row ``-1 - index`` of ``extra``. All of the source by default.
        extra: ``(E, D)`` rows in memory.
    """

    def __init__(
        self, source: Source, index: Tensor | None = None, extra: Tensor | None = None, device: str = "cpu"
    ) -> None:
        self._source = source
        self._index = torch.arange(source.shape[0]) if index is None else index
        self._extra = torch.empty(0, source.shape[1]) if extra is None else extra
        self.device = torch.device(device)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self._index), self._source.shape[1]

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, rows: Tensor) -> Tensor:
        own = self._index[rows.cpu()]
        found = self._source.read(own.clamp(min=0).numpy())
        if len(self._extra):
            other = own < 0
            found[other] = self._extra[-1 - own[other]]
        return to_device(found, self.device)

    def to(self, device: torch.device) -> StoredRows:
        return StoredRows(self._source, self._index, self._extra, str(device))

    def taken(self, rows: Tensor) -> StoredRows:
        """The rows ``rows (M,)``."""
        return StoredRows(self._source, self._index[rows], self._extra, str(self.device))

    def replaced(self, places: Tensor, values: Tensor) -> StoredRows:
        """The same with ``values (P, D)`` in some places."""
        index = self._index.clone()
        index[places] = self._added(len(values))
        return StoredRows(self._source, index, torch.cat([self._extra, values]), str(self.device))

    def joined(self, values: Tensor) -> StoredRows:
        """The same with ``values (P, D)`` behind it."""
        index = torch.cat([self._index, self._added(len(values))])
        return StoredRows(self._source, index, torch.cat([self._extra, values]), str(self.device))

    def _added(self, count: int) -> Tensor:
        return -1 - (len(self._extra) + torch.arange(count))


Matrix: TypeAlias = "Tensor | StoredRows"


def in_memory(matrix: Matrix) -> Tensor:
    """A matrix that is in memory, as a tensor."""
    assert isinstance(matrix, torch.Tensor), (
        "what needs all features at once was given some that stay on disk"
    )
    return matrix


def taken(matrix: Matrix, rows: Tensor) -> Matrix:
    """The rows ``rows (M,)``, where the matrix is."""
    return matrix.taken(rows) if isinstance(matrix, StoredRows) else matrix[rows]


def replaced(matrix: Matrix, places: Tensor, values: Tensor) -> Matrix:
    """The same with ``values (P, D)`` in some places."""
    if isinstance(matrix, StoredRows):
        return matrix.replaced(places, values)
    matrix = matrix.clone()
    matrix[places] = values
    return matrix


def joined(matrix: Matrix, values: Tensor) -> Matrix:
    """The same with ``values (P, D)`` behind it."""
    return matrix.joined(values) if isinstance(matrix, StoredRows) else torch.cat([matrix, values])


def in_blocks(count: int, width: int) -> Iterator[Tensor]:
    """The rows of a matrix ``(count, width)``, block by block."""
    step = max(1, VALUES_AT_ONCE // max(1, width))
    for start in range(0, count, step):
        yield torch.arange(start, min(start + step, count))


def blocks(matrix: Matrix, kept: Tensor | None = None) -> Iterator[Tensor]:
    """The rows block by block, without those that a mask ``(N,)`` leaves out."""
    for rows in in_blocks(*matrix.shape):
        block = matrix[rows] if isinstance(matrix, StoredRows) else matrix[int(rows[0]) : int(rows[-1]) + 1]
        yield block if kept is None else block[kept[rows.to(kept.device)].to(block.device)]


def passes(matrix: Matrix | Blocks, kept: Tensor | None = None) -> Blocks:
    """Starts passes over `blocks`."""
    return matrix if callable(matrix) else lambda: blocks(matrix, kept)


def mean_by_sample(features: Tensor, sample: Tensor, count: int) -> Tensor:
    """Mean of the ``(T, D)`` rows that share a sample, as ``(count, D)``; zeros where a sample has none."""
    total = torch.zeros(count, features.shape[1]).index_add_(0, sample, features)
    return total / torch.bincount(sample, minlength=count).clamp_min(1)[:, None]

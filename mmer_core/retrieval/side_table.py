"""Metadata of an index's rows: a Parquet table that is read a few row groups at a time.

Columns: ``id`` (of the photo, as in the dataset), ``caption``, ``path`` (within the dataset), ``split``, ``labels``
(a list of names), and ``valence``, ``arousal``, ``dominance`` (null if not rated). Tables of earlier versions have
only ``id`` and ``caption``.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

RATINGS = ("valence", "arousal", "dominance")

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("caption", pa.string()),
        ("path", pa.string()),
        ("split", pa.string()),
        ("labels", pa.list_(pa.string())),
        *((name, pa.float32()) for name in RATINGS),
    ]
)

_ROWS_IN_A_GROUP = 16_384

_GROUPS_KEPT = 64
"""Decoded row groups kept in memory: a million rows, some 150 MB with captions like Flickr8k's."""


def write_table(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write the table of some rows; columns that are not given are null."""
    rows = len(columns["id"])
    filled = {name: columns.get(name, [None] * rows) for name in SCHEMA.names}
    pq.write_table(pa.table(filled, schema=SCHEMA), path, row_group_size=_ROWS_IN_A_GROUP)


def join_tables(parts: Iterable[Path], path: Path) -> None:
    """Concatenate several tables into one, a row group at a time."""
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for part in parts:
            for batch in pq.ParquetFile(part).iter_batches(_ROWS_IN_A_GROUP):
                writer.write_batch(batch, row_group_size=_ROWS_IN_A_GROUP)


class SideTable:
    """A concatenation of tables on disk, with a cache of the most recently used row groups.

    Thread-safe.
    """

    def __init__(self, *paths: Path) -> None:
        self._files = [pq.ParquetFile(path) for path in paths]
        self._groups = [(file, group) for file in self._files for group in range(file.num_row_groups)]
        sizes = [file.metadata.row_group(group).num_rows for file, group in self._groups]
        self._ends = np.cumsum(sizes, dtype=np.int64)
        self._reading = threading.Lock()  # a Parquet reader can be used by one thread at a time
        self._group = lru_cache(maxsize=_GROUPS_KEPT)(self._read_group)
        few = len(self._groups) <= _GROUPS_KEPT
        self._column = lru_cache(maxsize=None)(self._read_column) if few else self._read_column

    def __len__(self) -> int:
        return sum(int(file.metadata.num_rows) for file in self._files)

    @property
    def columns(self) -> list[str]:
        """The columns that all tables have."""
        first, *others = (file.schema_arrow.names for file in self._files)
        return [name for name in first if all(name in names for names in others)]

    def rows(self, wanted: Iterable[int]) -> dict[int, dict[str, Any]]:
        """The records of some rows, by row."""
        by_group: dict[int, list[int]] = {}
        for row in sorted(set(wanted)):
            by_group.setdefault(int(np.searchsorted(self._ends, row, side="right")), []).append(row)
        found: dict[int, dict[str, Any]] = {}
        for group, rows in by_group.items():
            first = int(self._ends[group - 1]) if group else 0
            records = self._group(group).take([row - first for row in rows]).to_pylist()
            found.update(zip(rows, records, strict=True))
        return found

    def column(self, name: str) -> pa.ChunkedArray:
        """One whole column, which is cached unless the table is large."""
        return self._column(name)

    def find(self, ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """Rows with one of these ids, in ascending order."""
        wanted = pa.array(list(ids), pa.string())
        same = pc.is_in(self.column("id"), value_set=wanted)
        return np.flatnonzero(same.to_numpy()).astype(np.int64)

    def _read_group(self, place: int) -> pa.Table:
        file, group = self._groups[place]
        with self._reading:
            return file.read_row_group(group)

    def _read_column(self, name: str) -> pa.ChunkedArray:
        kind = SCHEMA.field(name).type
        with self._reading:
            parts = [file.read([name])[name].cast(kind) for file in self._files]
        return pa.chunked_array([chunk for part in parts for chunk in part.chunks], kind)

"""What the rows of an index are: a Parquet table that is read a few rows at a time.

Columns: ``id`` (the dataset's own, of the photo), ``caption``, ``path`` (inside the dataset), ``split``, ``labels``
(a list of names), and ``valence``, ``arousal``, ``dominance`` (null where nothing was rated). Tables of earlier
versions have ``id`` and ``caption`` only.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
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


def write_table(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write the table of some rows; columns that are not given are empty."""
    rows = len(columns["id"])
    filled = {name: columns.get(name, [None] * rows) for name in SCHEMA.names}
    pq.write_table(pa.table(filled, schema=SCHEMA), path, row_group_size=_ROWS_IN_A_GROUP)


def join_tables(parts: Iterable[Path], path: Path) -> None:
    """Write several tables as one, a row group at a time."""
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for part in parts:
            for batch in pq.ParquetFile(part).iter_batches(_ROWS_IN_A_GROUP):
                writer.write_batch(batch, row_group_size=_ROWS_IN_A_GROUP)


class SideTable:
    """Tables on disk, one behind another; memory holds the row groups that are asked for, one at a time.

    Any thread may ask.
    """

    def __init__(self, *paths: Path) -> None:
        self._files = [pq.ParquetFile(path) for path in paths]
        self._groups = [(file, group) for file in self._files for group in range(file.num_row_groups)]
        sizes = [file.metadata.row_group(group).num_rows for file, group in self._groups]
        self._ends = np.cumsum(sizes, dtype=np.int64)
        self._reading = threading.Lock()  # a Parquet reader serves one thread at a time

    def __len__(self) -> int:
        return sum(int(file.metadata.num_rows) for file in self._files)

    @property
    def columns(self) -> list[str]:
        """Those that all the tables have."""
        names = [list(file.schema_arrow.names) for file in self._files]
        return [name for name in names[0] if all(name in others for others in names)]

    def rows(self, wanted: Iterable[int]) -> dict[int, dict[str, Any]]:
        """The records of some rows, by row."""
        by_group: dict[int, list[int]] = {}
        for row in sorted(set(wanted)):
            by_group.setdefault(int(np.searchsorted(self._ends, row, side="right")), []).append(row)
        found: dict[int, dict[str, Any]] = {}
        for place, rows in by_group.items():
            first = int(self._ends[place - 1]) if place else 0
            file, group = self._groups[place]
            with self._reading:
                group_table = file.read_row_group(group)
            records = group_table.take([row - first for row in rows]).to_pylist()
            found.update(zip(rows, records, strict=True))
        return found

    def column(self, name: str) -> pa.ChunkedArray:
        """One whole column."""
        with self._reading:
            parts = [file.read([name])[name].cast(SCHEMA.field(name).type) for file in self._files]
        return pa.chunked_array([chunk for part in parts for chunk in part.chunks], SCHEMA.field(name).type)

    def find(self, ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """Rows with one of these ids, in ascending order."""
        wanted = pa.array(list(ids), pa.string())
        same = pc.is_in(self.column("id"), value_set=wanted)
        return np.flatnonzero(same.to_numpy()).astype(np.int64)

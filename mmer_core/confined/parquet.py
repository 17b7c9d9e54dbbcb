"""The rows of a Parquet or Arrow file, read in a child process: few bytes can encode very many values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmer_core.confined.plain import Unreadable

KEY = b"mmer"
"""Metadata key of a manifest's declaration."""
_ROWS, _PICTURES = 1024, 16
"""Rows decoded at a time, and rows with pictures in them."""
# For example text that is not UTF-8, or dates after 9999.
_NOT_PYTHON = (ValueError, OverflowError, pa.ArrowException)


def rows(path: Path) -> Iterator[Any]:
    """Yield ``[declaration, column names]``, then the values of every row in column order."""
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        declared = (schema.metadata or {}).get(KEY, b"").decode("utf-8", errors="replace")
        yield [declared, schema.names]
        for batch in file.iter_batches(_ROWS, use_threads=False):
            yield from _rows(batch)


def stream_rows(path: Path) -> Iterator[Any]:
    """Yield the column names of an Arrow stream, then the values of every row in column order."""
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        yield stream.schema.names
        for batch in stream:
            batch.validate(full=True)
            for start in range(0, batch.num_rows, _PICTURES):
                yield from _rows(batch.slice(start, _PICTURES))


def _rows(batch: pa.RecordBatch) -> Iterator[Any]:
    columns = [_values(column) for column in batch.columns]
    yield from zip(*columns, strict=True) if columns else ()


def _values(column: pa.Array) -> list[Any]:
    if column.type in (pa.float16(), pa.float32()):
        # 0.1 is stored as the nearest float32, but means 0.1 rather than 0.10000000149011612.
        kind = column.type.to_pandas_dtype()
        return [None if value is None else kind(value) for value in column.to_pylist()]
    try:
        return list(column.to_pylist())
    except _NOT_PYTHON:
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except _NOT_PYTHON:
        return Unreadable()

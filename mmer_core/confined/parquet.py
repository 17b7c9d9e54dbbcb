"""The rows of a Parquet file, in a child process: few bytes can announce very many values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

KEY = b"mmer"
"""Key of a manifest's declaration in the file's metadata."""
_ROWS = 1024
"""Rows that are decoded at a time."""


def rows(path: Path) -> Iterator[Any]:
    """``[declaration, names of the columns]``, then the values of every row in the order of the columns.

    Bytes of texts that are not UTF-8 become U+FFFD, as in the other formats.
    """
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        declared = (schema.metadata or {}).get(KEY, b"").decode("utf-8", errors="replace")
        yield [declared, schema.names]
        for batch in file.iter_batches(_ROWS, use_threads=False):
            columns = [_values(column) for column in batch.columns]
            yield from zip(*columns, strict=True) if columns else ()


def _values(column: pa.Array) -> list[Any]:
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_text(value) for value in column.cast(_as_bytes(column.type)).to_pylist()]


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """The type of columns of texts, or of lists of them, with bytes in the place of texts."""
    if pa.types.is_dictionary(kind):
        return _as_bytes(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_as_bytes(kind.value_type))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.large_binary()
    raise ValueError(f"a column of type {kind} holds texts that are not UTF-8")


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(one) for one in value]
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value

"""CSV files of our own: text is read back exactly as it was written.

A file has a header, is UTF-8 without a byte order mark, and ends its rows with a line feed. Cells that hold a comma, a
quote or a line break of any kind are quoted. Missing values (None, NaN) are empty cells.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mmer_core.heavy import pd

Kind = type[str | int | float | bool]

# The csv module of Python 3.11 does not quote a carriage return, and readers then see a new row.
_NEEDS_QUOTES = re.compile('[",\r\n]')


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a file, each with its line feed."""
    yield _line(columns)
    yield from map(_line, rows)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a file row by row; numbers keep all their digits."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(csv_lines(columns, rows))


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a data frame without its index."""
    write_table(path, list(frame.columns), frame.itertuples(index=False, name=None))


def read_table(
    path: Path, kinds: Mapping[str, Kind] | None = None, others: type[str | float] = str
) -> pd.DataFrame:
    """Read a file written by this module.

    Args:
        kinds: Types of columns that are not text; an empty cell of a float column is NaN.
        others: Type of all columns not in ``kinds``.
    """
    known = kinds or {}
    # pandas parses the integers; all other columns are read as text and converted below.
    types: defaultdict[str, type] = defaultdict(
        lambda: str, {name: int for name in known if known[name] is int}
    )
    table = pd.read_csv(path, dtype=types, keep_default_na=False, na_filter=False, encoding="utf-8")
    for name in table.columns:
        kind = known.get(name, others)
        if kind is bool:
            table[name] = table[name] == str(True)
        elif kind is float:
            table[name] = table[name].replace("", "nan").astype(float)
    return table


def joined(names: Iterable[str], separator: str = ";") -> str:
    """Join names in one cell. A name that contains the separator or a quote is quoted, as in a CSV."""
    return separator.join(
        '"' + name.replace('"', '""') + '"' if separator in name or '"' in name else name for name in names
    )


def _line(cells: Sequence[object]) -> str:
    if len(cells) == 1 and not (text := _text(cells[0])).strip():
        return f'"{text}"\n'  # unquoted, a blank line would not count as a row
    return ",".join(map(_cell, cells)) + "\n"


def _cell(value: object) -> str:
    text = _text(value)
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None or value != value else str(value)

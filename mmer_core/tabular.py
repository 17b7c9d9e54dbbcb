"""Our own CSV files: what is written as text is read back as the same text.

A file has a header, UTF-8 without a mark, and ends its rows with a line feed. A cell that holds a comma, a quote or a
line break of any kind is quoted. What is not given (None, NaN) is an empty cell.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

Kind = type[str | int | float | bool]

# The csv module of Python 3.11 leaves a carriage return without quotes, and readers then see a new row.
_NEEDS_QUOTES = re.compile('[",\r\n]')


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a file, each with its line feed."""
    yield _line(columns)
    yield from map(_line, rows)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a file row by row; numbers are written with as many digits as they have."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(csv_lines(columns, rows))


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a data frame without its index."""
    write_table(path, list(frame.columns), frame.itertuples(index=False, name=None))


def read_table(
    path: Path, kinds: Mapping[str, Kind] | None = None, others: type[str | float] = str
) -> pd.DataFrame:
    """Read what this module wrote.

    Args:
        kinds: Columns that are not text; an empty cell of floats is NaN.
        others: What all columns are that ``kinds`` does not name.
    """
    known = kinds or {}
    # Integers are the reader's own; the rest is text until it is known to be something else.
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
    """Names in one cell. A name that holds the separator or a quote is quoted, as in a CSV."""
    return separator.join(
        '"' + name.replace('"', '""') + '"' if separator in name or '"' in name else name for name in names
    )


def _line(cells: Sequence[object]) -> str:
    if len(cells) == 1 and not (text := _text(cells[0])).strip():
        return f'"{text}"\n'  # a line with nothing but blanks in it would be no row
    return ",".join(map(_cell, cells)) + "\n"


def _cell(value: object) -> str:
    text = _text(value)
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None or value != value else str(value)

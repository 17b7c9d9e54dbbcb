"""CSV files that are safe to open in a spreadsheet and read back exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mmer_core.escaping.spreadsheet import for_spreadsheet, from_spreadsheet
from mmer_core.heavy import pd
from mmer_core.tabular import csv_lines, read_table, write_table


def lines_for_people(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a file; text that looks like a formula gets an apostrophe, numbers stay unchanged."""
    return csv_lines(_cells(columns), map(_cells, rows))


def write_for_people(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write such a file row by row."""
    write_table(path, _cells(columns), map(_cells, rows))


def write_frame_for_people(path: Path, frame: pd.DataFrame) -> None:
    """Write a data frame without its index as such a file."""
    write_for_people(path, list(frame.columns), frame.itertuples(index=False, name=None))


def read_for_people(path: Path) -> pd.DataFrame:
    """The text of all cells of such a file, without the added apostrophes."""
    return read_table(path).map(from_spreadsheet).rename(columns=from_spreadsheet)


def _cells(row: Sequence[object]) -> list:
    return [for_spreadsheet(cell) if isinstance(cell, str) else cell for cell in row]

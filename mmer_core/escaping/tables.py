"""CSV files for people, whose cells compute nothing in a spreadsheet, and which read back exactly."""

from pathlib import Path

import pandas as pd

from mmer_core.escaping.spreadsheet import for_spreadsheet, from_spreadsheet


def write_for_people(table: pd.DataFrame, path: Path) -> None:
    """Write a table as UTF-8; text that begins like a formula stands behind an apostrophe."""
    shown = table.map(lambda cell: for_spreadsheet(cell) if isinstance(cell, str) else cell)
    shown.columns = pd.Index([for_spreadsheet(str(name)) for name in table.columns])
    shown.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")


def read_for_people(path: Path) -> pd.DataFrame:
    """The text of all cells, without those apostrophes."""
    shown = pd.read_csv(path, keep_default_na=False, dtype=str, encoding="utf-8")
    table = shown.map(from_spreadsheet)
    table.columns = pd.Index([from_spreadsheet(name) for name in shown.columns])
    return table

"""Cells of CSV files that people open in a spreadsheet, which would evaluate text that looks like a formula."""

import re

# Full-width signs count under Japanese or Chinese settings.
_FORMULA = re.compile(r"'*(?:[\t\r\n]|\s*[=+\-@＝＋－＠])")


def for_spreadsheet(text: str) -> str:
    """Prefix text that looks like a formula with an apostrophe; `from_spreadsheet` removes it."""
    return f"'{text}" if _FORMULA.match(text) else text


def from_spreadsheet(cell: str) -> str:
    """Recover the exact text from a cell made by `for_spreadsheet`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell

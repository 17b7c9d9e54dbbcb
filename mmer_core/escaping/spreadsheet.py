"""Cells of CSV files that people open in a spreadsheet, where text that begins like a formula is computed."""

import re

_FORMULA = re.compile(r"'*(?:[\t\r\n]|\s*[=+\-@＝＋－＠])")  # the wide ones where Japanese or Chinese is set


def for_spreadsheet(text: str) -> str:
    """The text itself, behind an apostrophe where it begins like a formula; `from_spreadsheet` takes it away."""
    return f"'{text}" if _FORMULA.match(text) else text


def from_spreadsheet(cell: str) -> str:
    """The text of a cell that `for_spreadsheet` made, exactly."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell

"""Printing lines, text and JSON; what comes from data is escaped.

Only this module and `flows.terminal` print (`ruff` enforces it), so nothing in a caption, a label or a file's name
can move the cursor, colour the screen, start a line or act as markup.
"""

import sys
from typing import Any

from mmer_core.escaping import ascii_json, one_line, visible


def say(*lines: object, error: bool = False, end: str = "\n") -> None:
    """Print lines, on standard output or on standard error."""
    for line in lines:
        print(one_line(line), file=sys.stderr if error else sys.stdout, end=end, flush=True)


def say_text(text: str) -> None:
    """Print several lines of text whose parts are already escaped for its format."""
    print(visible(text).removesuffix("\n"))


def say_json(value: Any) -> None:
    """Print JSON, exact and in ASCII."""
    print(ascii_json(value, indent=2))

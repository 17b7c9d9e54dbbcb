"""What no cell of an outside file may hold, whatever the format, and how such a text is shown."""

from collections.abc import Iterable
from typing import Any

CELL_LIMIT = 2**17
"""Characters of one cell (128 k): the limit of Python's own CSV reader, kept for every format."""
_SHOWN = 4096


def flaw(text: str) -> str:
    """Why this text cannot be a cell, or ``""``.

    A lone surrogate has no form in UTF-8, and NUL ends a text for much software: neither could be written out again.
    """
    if len(text) > CELL_LIMIT:
        return f"a cell of {len(text)} characters: at most {CELL_LIMIT} are read, shorten it"
    if "\0" in text:
        return "a cell holds the character NUL: remove it"
    if not text.isascii() and not _encodes(text):
        return "a cell holds half a surrogate pair, which is no character: remove it"
    return ""


def flaws(values: Iterable[Any]) -> str:
    """The first flaw of the texts in these values, in lists and objects too, or ``""``."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if found := flaw(value):
                return found
        elif isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value
    return ""


def printable(text: str) -> str:
    """The text with escapes for what cannot be written to a file in UTF-8, or ends a text; a long one is cut."""
    if len(text) > _SHOWN:
        text = text[: _SHOWN - 1] + "…"
    if "\0" in text:
        text = text.replace("\0", "\\x00")
    return text if text.isascii() or _encodes(text) else text.encode("utf-8", "backslashreplace").decode()


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

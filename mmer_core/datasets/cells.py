"""Rules for a cell of any external file, whatever its format, and how an invalid cell is printed."""

from collections.abc import Iterable
from typing import Any

CELL_LIMIT = 2**17
"""Characters of one cell (128 Ki): the limit of Python's own CSV reader, applied to every format."""
_SHOWN = 4096


def flaw(text: str) -> str:
    """Why this text is not a valid cell, or ``""``.

    Lone surrogates cannot be encoded as UTF-8 and much software ends a string at NUL, so neither could be written out.
    """
    if len(text) > CELL_LIMIT:
        return f"a cell of {len(text)} characters: at most {CELL_LIMIT} are read, shorten it"
    if "\0" in text:
        return "a cell holds the character NUL: remove it"
    if not text.isascii() and not _encodes(text):
        return "a cell holds half a surrogate pair, which is no character: remove it"
    return ""


def flaws(values: Iterable[Any]) -> str:
    """The first flaw among the texts in these values, including those nested in lists and objects, or ``""``."""
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
    """The text with escapes for NUL and for what UTF-8 cannot encode; long texts are truncated."""
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

"""Cells of external tables as text (``docs/manifest.md``, "What a cell means").

A cell of a CSV is text already. JSON and Parquet are typed, and two of their values become the same text only if they
mean the same.
"""

import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from mmer_core.confined.plain import Unreadable


class NotText(ValueError):
    """A value that cannot be an id, a caption, a label or a name; the message describes the value."""


def text_of(value: Any) -> str | None:
    """A value as text; None if it is missing (null, NaN).

    A string stays as it is. A whole number is written in decimal, even if it became floating-point because other
    values of its column are missing; any other number gets the fewest digits that round-trip. ``true`` and ``false``
    are spelt as in JSON, dates and times as in ISO 8601, and bytes must be UTF-8.

    Raises:
        NotText: It is a list, an object, or something else without a unique spelling.
    """
    match value:
        case None | str():
            return value
        case bool() | np.bool_():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() | np.floating():
            return _number(value)
        case Decimal():
            return None if value.is_nan() else format(value, "f")
        case datetime() | date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case bytes():
            return _decoded(value)
    raise NotText(_KINDS.get(type(value)) or f"a value of the type {type(value).__name__}, not a text")


def texts_of(value: Any) -> list[str]:
    """The texts of a list, or of one value; missing ones are dropped.

    Raises:
        NotText: As `text_of`.
    """
    found = map(text_of, value if isinstance(value, list) else [value])
    return [text for text in found if text is not None]


def metadata_of(value: Any) -> str:
    """The same for a column that is only passed on: numbers keep all digits, and lists and objects become JSON.

    Raises:
        NotText: It is, or holds, something else without a unique spelling.
    """
    if isinstance(value, dict | list | tuple):
        return json.dumps(_plain(value), ensure_ascii=False)
    return _loosely(value) or ""


def is_given(value: Any) -> bool:
    """Whether a cell has a value: it is neither null, nor NaN, nor blank."""
    return not (value is None or value != value or (isinstance(value, str) and not value.strip()))


def number_of(value: Any) -> float:
    """A rating or a coordinate as a number; NaN if it is not one."""
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        return math.nan  # Python would read True as 1, and 1_0 as 10
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


_KINDS = {
    dict: "an object, not a text",
    list: "a list, not a text",
    tuple: "a list, not a text",
    timedelta: "a duration, not a text",
    Unreadable: "a value that cannot be read",
}


def _number(value: float | np.floating) -> str | None:
    if np.isnan(value):
        return None
    if not np.isfinite(value):
        raise NotText(f"the number {value}, not a text")
    if not value.is_integer():
        return str(value)
    # Beyond its mantissa a float represents several integers, so the original is ambiguous.
    if abs(value) >= 2 ** (np.finfo(type(value)).nmant + 1):
        raise NotText(f"{value}, which as a floating-point number is no exact integer")
    return str(int(value))


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise NotText("bytes that are not UTF-8") from None


def _plain(value: Any) -> Any:
    """A nested value in types that JSON has."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, bool | int) else _loosely(value)


def _loosely(value: Any) -> str | None:
    """As `text_of`, but numbers that are not names need not be exact."""
    try:
        return text_of(value)
    except NotText:
        if isinstance(value, float | np.floating):
            return str(value)
        raise

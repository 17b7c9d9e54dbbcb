"""Typed values as JSON and back, for the pipe between a child process and its parent.

JSON covers null, true, false, numbers (with NaN and infinity), strings and lists. Everything else is encoded as an
object with two fields, ``type`` and ``value``; no other object is ever written:

============== ==============================
``bytes``      hexadecimal digits
``decimal``    digits
``float16``    digits; the width determines which integers are exact
``float32``    digits
``date``       ISO 8601
``time``       ISO 8601
``datetime``   ISO 8601, up to microseconds
``duration``   microseconds
``dict``       a list of ``[key, value]``
``unreadable`` null
``other``      its string form
============== ==============================
"""

import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np


class Unreadable:
    """Replaces a value that Python cannot represent: text that is not UTF-8, a date after 9999."""

    def __str__(self) -> str:
        return "unreadable"


def to_line(value: Any) -> bytes:
    """Encode a value as one line of ASCII."""
    return json.dumps(_tagged(value), separators=(",", ":")).encode("ascii")


def from_line(line: bytes) -> Any:
    """Decode a line of `to_line`; ``other`` becomes a string. Raises `ValueError` for anything else."""
    return json.loads(line, object_hook=_untagged)


def _tagged(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_tagged(one) for one in value]
    kind, written = _typed(value)
    return {"type": kind, "value": written}


def _typed(value: Any) -> tuple[str, Any]:
    if isinstance(value, dict):
        return "dict", [[_tagged(key), _tagged(one)] for key, one in value.items()]
    if isinstance(value, bytes):
        return "bytes", value.hex()
    if isinstance(value, Decimal):
        return "decimal", str(value)
    if getattr(value, "nanosecond", 0):  # finer than Python's own type
        return "other", value.isoformat()
    if isinstance(value, np.float16 | np.float32):
        return type(value).__name__, str(value)
    if isinstance(value, Unreadable):
        return "unreadable", None
    if isinstance(value, timedelta):
        return "duration", value // timedelta(microseconds=1)
    if isinstance(value, datetime):
        return "datetime", value.isoformat()
    if isinstance(value, date):
        return "date", value.isoformat()
    if isinstance(value, time):
        return "time", value.isoformat()
    return "other", str(value)


_READERS: dict[str, Callable[[Any], Any]] = {
    "bytes": bytes.fromhex,
    "decimal": Decimal,
    "float16": np.float16,
    "float32": np.float32,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "datetime": datetime.fromisoformat,
    "duration": lambda microseconds: timedelta(microseconds=microseconds),
    "dict": dict,
    "unreadable": lambda _: Unreadable(),
    "other": str,
}


def _untagged(fields: dict[str, Any]) -> Any:
    return _READERS[fields["type"]](fields["value"])

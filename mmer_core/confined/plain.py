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
from operator import methodcaller
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
    if getattr(value, "nanosecond", 0):  # finer than Python's own type
        return {"type": "other", "value": value.isoformat()}
    kind, _, write, _ = next(row for row in _KINDS if isinstance(value, row[1]))
    return {"type": kind, "value": write(value)}


_ISO, _MICROSECOND = methodcaller("isoformat"), timedelta(microseconds=1)

_KINDS: tuple[tuple[str, type, Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    ("dict", dict, lambda fields: [[_tagged(key), _tagged(one)] for key, one in fields.items()], dict),
    ("bytes", bytes, bytes.hex, bytes.fromhex),
    ("decimal", Decimal, str, Decimal),
    ("float16", np.float16, str, np.float16),
    ("float32", np.float32, str, np.float32),
    ("unreadable", Unreadable, lambda _: None, lambda _: Unreadable()),
    ("duration", timedelta, lambda span: span // _MICROSECOND, lambda n: timedelta(microseconds=n)),
    ("datetime", datetime, _ISO, datetime.fromisoformat),
    ("date", date, _ISO, date.fromisoformat),
    ("time", time, _ISO, time.fromisoformat),
    ("other", object, str, str),
)
"""Name, type, what writes a value and what reads it again; the first type that fits counts."""

_READERS = {name: read for name, _, _, read in _KINDS}


def _untagged(fields: dict[str, Any]) -> Any:
    return _READERS[fields["type"]](fields["value"])

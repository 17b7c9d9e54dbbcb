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
from functools import cache
from operator import methodcaller
from typing import Any


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


_PLAIN = frozenset([type(None), bool, int, float, str])
"""What JSON has itself; of its many values nothing else is asked."""


def _tagged(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, list | tuple):
        return [one if type(one) in _PLAIN else _tagged(one) for one in value]
    if isinstance(value, dict):
        pairs = [[_tagged(key), one if type(one) in _PLAIN else _tagged(one)] for key, one in value.items()]
        return {"type": "dict", "value": pairs}
    if isinstance(value, str | int | float):
        return value
    if getattr(value, "nanosecond", 0):  # finer than Python's own type
        return {"type": "other", "value": value.isoformat()}
    kind, _, write = next(row for row in _writers() if isinstance(value, row[1]))
    return {"type": kind, "value": write(value)}


_ISO, _MICROSECOND = methodcaller("isoformat"), timedelta(microseconds=1)


@cache
def _writers() -> tuple[tuple[str, type, Callable[[Any], Any]], ...]:
    """Name and type, and what writes a value; the first type that fits counts."""
    import numpy as np  # which nobody needs who has none of its values

    return (
        ("bytes", bytes, bytes.hex),
        ("decimal", Decimal, str),
        ("float16", np.float16, str),
        ("float32", np.float32, str),
        ("unreadable", Unreadable, lambda _: None),
        ("duration", timedelta, lambda span: span // _MICROSECOND),
        ("datetime", datetime, _ISO),
        ("date", date, _ISO),
        ("time", time, _ISO),
        ("other", object, str),
    )


def _numpy(name: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        import numpy as np

        return getattr(np, name)(text)

    return read


_READERS: dict[str, Callable[[Any], Any]] = {
    "dict": dict,
    "bytes": bytes.fromhex,
    "decimal": Decimal,
    "float16": _numpy("float16"),
    "float32": _numpy("float32"),
    "unreadable": lambda _: Unreadable(),
    "duration": lambda n: timedelta(microseconds=n),
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "other": str,
}
"""What reads a value again, by the name of its type."""


def _untagged(fields: dict[str, Any]) -> Any:
    return _READERS[fields["type"]](fields["value"])

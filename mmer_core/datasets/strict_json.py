"""JSON from outside, read without choosing among what it says twice, and without numbers that are none."""

import json
from typing import Any


def parse(text: str) -> Any:
    """A JSON value.

    Raises:
        ValueError: It is no JSON, or is outside of what JSON has one meaning for: a name that stands twice in an
            object, NaN or Infinity, numbers beyond the largest double, nesting without end.
    """
    try:
        return _STRICT.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_leniently(text: str) -> Any:
    """The same for a file that is one value: a fault costs only the object that holds it.

    A name that occurs twice in an object has the value `TWICE`; NaN and infinity are floats.

    Raises:
        ValueError: It is no JSON, or nested without end.
    """
    try:
        return _LENIENT.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


class _Twice:
    def __repr__(self) -> str:
        return "two values"


TWICE = _Twice()
"""In place of the values of a name that stands twice in an object."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError(f"the name {_repeated(pairs)[0]!r} stands twice in one object: keep one")
    return fields


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        fields |= dict.fromkeys(_repeated(pairs), TWICE)
    return fields


def _repeated(pairs: list[tuple[str, Any]]) -> list[str]:
    names = [name for name, _ in pairs]
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON: leave the value out, or write null")


def _double(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


_STRICT = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_double)
_LENIENT = json.JSONDecoder(object_pairs_hook=_marked)

"""Strict parsing of external JSON: duplicate names and invalid numbers are errors, not silently resolved."""

import json
from typing import Any


def parse(text: str) -> Any:
    """Parse a JSON value.

    Raises:
        ValueError: It is not JSON, or has no unique meaning: duplicate names in an object, NaN or Infinity, numbers
            beyond the largest double, or excessive nesting.
    """
    return _decoded(_STRICT, text)


def parse_line(line: str) -> Any:
    """Parse a line of JSON Lines; a trailing comma, as in a list, is ignored. Raises as `parse` does."""
    try:
        return parse(line.rstrip().removesuffix(","))
    except json.JSONDecodeError as error:
        if line.strip() in ("[", "]"):
            raise ValueError("a list: write one object a line, without brackets around all of them") from None
        raise ValueError(f"{error.msg} at character {error.pos + 1}; write one object a line") from None


def parse_leniently(text: str) -> Any:
    """Parse a file that is a single value, so that a fault affects only the object that holds it.

    A duplicate name in an object gets the value `TWICE`; NaN, infinity and huge integers become floats.

    Raises:
        ValueError: It is not JSON, or nested excessively.
    """
    return _decoded(_LENIENT, text)


def _decoded(decoder: json.JSONDecoder, text: str) -> Any:
    try:
        return decoder.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


_DIGITS = 4000
"""Digits of an integer; Python refuses to parse longer ones, which takes more than linear time."""


class _Twice:
    def __repr__(self) -> str:
        return "two values"


TWICE = _Twice()
"""Replaces the values of a name that occurs twice in an object."""


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


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"the number {digits[:20]}… is too large")
    return int(digits)


def _any_integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _DIGITS else float(digits)


def _double(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


_STRICT = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_double, parse_int=_integer
)
_LENIENT = json.JSONDecoder(object_pairs_hook=_marked, parse_int=_any_integer)

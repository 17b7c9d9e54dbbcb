"""JSON that holds data exactly and still does nothing to a terminal."""

import json
from typing import Any

from mmer_core.escaping.visible import acting_escaped


def json_text(value: Any, indent: int | None = 2) -> str:
    """Readable JSON, in which only characters that act on what shows them are written as ``\\uXXXX``.

    It reads back as the same value.
    """
    return acting_escaped(json.dumps(value, indent=indent, ensure_ascii=False), _json_escape)


def ascii_json(value: Any, indent: int | None = None) -> str:
    """JSON in printable ASCII; what has no form in JSON is there as text."""
    return json.dumps(value, indent=indent, default=str).replace("\x7f", r"\u007f")


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))

"""JSON that represents data exactly and is safe to print on a terminal."""

import json
from typing import Any

from mmer_core.escaping.visible import escape_controls


def json_text(value: Any, indent: int | None = 2) -> str:
    """Readable JSON in which only control and invisible characters are written as ``\\uXXXX``.

    It parses to the same value.
    """
    return escape_controls(json.dumps(value, indent=indent, ensure_ascii=False), _json_escape)


def ascii_json(value: Any, indent: int | None = None) -> str:
    """JSON in printable ASCII; values without a JSON type become strings."""
    return json.dumps(value, indent=indent, default=str).replace("\x7f", r"\u007f")


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))

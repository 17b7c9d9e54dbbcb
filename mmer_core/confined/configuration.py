"""TOML, YAML and JSON to plain fields, bounded in size, depth and what aliases make of them, in a child process.

The parsers are Python, and nothing crashes them; but some 64 kB take `tomllib` gigabytes, and PyYAML minutes.
"""

import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 2**16
"""A configuration names some hundred fields at most."""
MAX_DEPTH = 32
"""Lists and tables inside each other."""
MAX_VALUES = 10_000
"""Values in all, with those that a YAML alias repeats counted each time."""


def fields(path: Path) -> Iterator[dict[str, Any]]:
    """The fields of a configuration file, in the format that its suffix names.

    Raises:
        ValueError, YAMLError: The file is not of its format, exceeds a limit, or is no table of fields.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes, which no configuration has")
    try:
        found = _PARSERS[path.suffix](content.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("lists or tables lie too deep inside each other") from None
    _bound(found)
    if not isinstance(found, dict):
        raise ValueError("it holds no fields; write name: value or the like")
    yield found


def _bound(content: Any) -> None:
    """Walk as far as the limits: an alias is one object in many places, and may lie inside itself."""
    left, values = [(content, 0)], 0
    while left:
        value, depth = left.pop()
        values += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} lists or tables lie inside each other")
        if values > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES} values, with what aliases repeat")
        if isinstance(value, dict):
            if not all(isinstance(name, str) for name in value):
                raise ValueError("a name is not text; put it in quotes")
            left += [(one, depth + 1) for one in value.values()]
        elif isinstance(value, list):
            left += [(one, depth + 1) for one in value]


_PARSERS: dict[str, Callable[[str], Any]] = {
    ".toml": tomllib.loads,
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
    ".json": json.loads,
}

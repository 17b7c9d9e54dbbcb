"""TOML, YAML and JSON to plain fields in a child process, with bounded size, depth and alias expansion.

The command decides whether a field is a number: numbers, dates and words such as ``no`` are kept as written, so that a
name like ``003`` stays a name.

The parsers are pure Python and do not crash, but some 64 kB inputs cost `tomllib` gigabytes and PyYAML minutes.
"""

import json
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import yaml

from mmer_core import strict_json
from mmer_core.text_lines import DAMAGED, decoded

MAX_BYTES = 2**16
"""Size of a file in bytes; a configuration has some hundred fields at most."""
MAX_DEPTH = 32
"""Nesting depth of lists and tables."""
MAX_VALUES = 10_000
"""Number of values, where each use of a YAML alias counts."""


def fields(path: Path) -> Iterator[dict[str, Any]]:
    """The fields of a configuration file, in the format of its suffix.

    Raises:
        ValueError, YAMLError: The file is malformed, exceeds a limit, or is not a table of fields.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes, which no configuration has")
    try:
        found = _PARSERS[path.suffix.lower()](_text(content))
    except RecursionError:
        raise ValueError("lists or tables are nested too deeply") from None
    _bound(found)
    if not isinstance(found, dict) or not found:
        raise ValueError("it holds no fields; write name: value or the like")
    yield found


def _text(content: bytes) -> str:
    text = decoded(content)
    if text.damaged:
        raise ValueError(f"line {min(text.damaged) + 1} holds {DAMAGED}")
    return "".join(text.lines)


_RESOLVED = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
"""What a plain word may be besides text."""


class _Loader(yaml.SafeLoader):
    """YAML that rejects duplicate keys (PyYAML silently keeps the last) and reads plain words as text or null."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, form) for tag, form in resolvers if tag in _RESOLVED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names = [
            name.value for name, _ in node.value if isinstance(name, yaml.ScalarNode) and name.value != "<<"
        ]
        for name in dict.fromkeys(names):
            if names.count(name) > 1:
                raise ValueError(f"the name {name!r} occurs twice in one table: keep one")
        return node


def _json(text: str) -> Any:
    strict_json.parse(text)
    return json.loads(text, parse_float=str, parse_int=str)


def _bound(content: Any) -> None:
    """Traverse up to the limits: an alias is one object in several places, and may contain itself."""
    left, values = [(content, 0)], 0
    while left:
        value, depth = left.pop()
        values += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"lists or tables are nested more than {MAX_DEPTH} deep")
        if values > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES} values, with what aliases repeat")
        if isinstance(value, dict):
            if not all(isinstance(name, str) for name in value):
                raise ValueError("a name is not text; put it in quotes")
            left += [(one, depth + 1) for one in value.values()]
        elif isinstance(value, list):
            left += [(one, depth + 1) for one in value]


_PARSERS: dict[str, Callable[[str], Any]] = {
    ".toml": partial(tomllib.loads, parse_float=str),
    # Safe: the loader derives from SafeLoader.
    **dict.fromkeys((".yaml", ".yml"), partial(yaml.load, Loader=_Loader)),
    ".json": _json,
}

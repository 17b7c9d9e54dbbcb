"""Removing local folders from recorded values, because they are private to the machine."""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

# An encoder given as a folder or a file: mirror:hf:/home/..., torchvision:resnet18@/home/...
_ENCODER = re.compile(r"((?:\w+:)*(?:hf|adapted|places365|torchvision):(?:[^@/]*@)?)/.*", re.DOTALL)


def without_folders(value: Any) -> Any:
    """Replace absolute paths, also within encoder names, by their last component.

    An artifact's inputs are recorded by content, so this loses nothing.

    Args:
        value: A configuration, or mappings, sequences and scalars; paths are `PurePath`, and become strings.
    """
    if hasattr(value, "model_dump"):  # a configuration
        return without_folders(value.model_dump())
    if isinstance(value, PurePath):
        return f"…/{value.name}" if value.is_absolute() else str(value)
    if isinstance(value, str):
        found = _ENCODER.fullmatch(value)
        return f"{found[1]}…/{value.rstrip('/').rpartition('/')[2]}" if found else value
    if isinstance(value, Mapping):
        return _renamed({name: without_folders(item) for name, item in value.items()})
    if isinstance(value, list | tuple):
        return [without_folders(item) for item in value]
    return value


def _renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same for the keys of a mapping; keys that become equal are numbered."""
    renamed: dict[str, Any] = {}
    for name, item in fields.items():
        shown = shorter = without_folders(name)
        count = 1
        while shown in renamed:
            count += 1
            shown = f"{shorter} ({count})"
        renamed[shown] = item
    return renamed

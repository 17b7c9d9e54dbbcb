"""EMOTIC's ``Annotations.mat`` as plain Python lists and dictionaries.

A file written by MATLAB has no stable shapes: a single struct or cell loads as itself rather than as a list of one,
and an empty one loads as a 0x0 array. Every reader of the file goes through the helpers here.
"""

import math
from pathlib import Path
from typing import Any

from mmer_core.confined.reading import read_in_child
from mmer_core.errors import DatasetError
from mmer_core.taxonomy import SPLITS


def load_annotations(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Image entries by split; a split may be empty, but must exist.

    Raises:
        DatasetError: The file is not a MATLAB file, crashes the child process that reads it or exceeds its limits,
            or lacks one of ``train``, ``val`` and ``test``.
    """

    def refuse(reason: str) -> DatasetError:
        return DatasetError(
            f"{path} cannot be read as a MATLAB file ({reason}): download Annotations.mat again"
        )

    values = read_in_child("mmer_core.confined.matlab:entries", path, refuse)
    found: list[str] = next(values, [])
    missing = [name for name in SPLITS if name not in found]
    if missing:
        raise DatasetError(f"{path} lacks {', '.join(missing)}: download EMOTIC's Annotations.mat again")
    splits: dict[str, list[dict[str, Any]]] = {name: [] for name in SPLITS}
    for name, entry in values:
        splits[name] += as_structs(entry)
    return splits


def as_list(value: Any) -> list[Any]:
    """A MATLAB array or cell as a list: a scalar is a list of one, an empty string a list of none."""
    if isinstance(value, list):
        return value
    return [] if value is None or value == "" else [value]


def as_structs(value: Any) -> list[dict[str, Any]]:
    """A struct array as a list of dictionaries; anything else in it is dropped."""
    return [item for item in as_list(value) if isinstance(item, dict)]


def as_struct(value: Any) -> dict[str, Any]:
    """The first struct of a struct array, or an empty dictionary."""
    return next(iter(as_structs(value)), {})


def as_text(value: Any) -> str:
    """A char array as a string; ``""`` if empty or not text."""
    first = next(iter(as_list(value)), "")
    return first.strip() if isinstance(first, str) else ""


def as_strings(value: Any) -> list[str]:
    """A cell of strings as a list of the non-empty ones."""
    return [item.strip() for item in as_list(value) if isinstance(item, str) and item.strip()]


def as_floats(value: Any) -> list[float]:
    """A numeric array as floats; NaN for anything that is not a number."""
    numbers = as_list(value)
    return [float(x) if isinstance(x, int | float) else math.nan for x in numbers]


def as_float(value: Any) -> float:
    """A numeric scalar; NaN if absent."""
    return next(iter(as_floats(value)), math.nan)

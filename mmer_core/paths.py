"""Paths as people give them, to a command or in a configuration."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator


def given(value: Any) -> Any:
    """The value itself. Raises `ValueError` for an empty path, which `Path` takes for the current folder."""
    if isinstance(value, str) and not value.strip():
        raise ValueError("the path is empty; give one, or a dot for the current folder")
    return value


Place = Annotated[Path, BeforeValidator(given)]
"""A path that is not empty."""

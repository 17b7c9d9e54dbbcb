"""Finding files in trees that were unpacked one level too deep, or one too shallow."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from mmer_core.errors import DatasetError

DEPTH = 3
"""Folders below the root that are searched."""


def require_folder(root: Path, what: str) -> None:
    """Raises `DatasetError` unless root is a folder."""
    if not os.path.exists(root):
        raise DatasetError(f"{what} folder {root} does not exist: give the folder that holds the dataset")
    if not os.path.isdir(root):
        raise DatasetError(f"{what} folder {root} is a file: unpack it and give the unpacked folder")


def folders(root: Path, depth: int = DEPTH) -> Iterator[Path]:
    """The root and the folders below it, shallow before deep, each level in order of name."""
    level = [root]
    for _ in range(depth + 1):
        yield from level
        level = [parent / name for parent in level for name in _folders_in(parent)]


def _folders_in(parent: Path) -> list[str]:
    """Names of the folders in a folder; of none that may not be read, and of no link that leads in a circle."""
    try:
        entries = list(os.scandir(parent))
    except OSError:
        return []
    # scandir knows folders without a look at each of many thousand photos; only a link is looked up.
    return sorted(
        entry.name
        for entry in entries
        if entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))
    )


def find_file(root: Path, name: str) -> Path | None:
    """The shallowest file of this name."""
    return next((folder / name for folder in folders(root) if os.path.isfile(folder / name)), None)


def find_base(root: Path, members: Collection[str]) -> Path | None:
    """The folder below which most of these relative paths exist (the shallowest of equals), if any does."""
    best, most = None, 0
    for folder in folders(root):
        found = sum(os.path.exists(folder / member) for member in members)
        if found > most:
            best, most = folder, found
    return best


def stays_inside(path: str) -> bool:
    """Whether a relative path from an annotation file cannot leave the dataset's folder."""
    parts = PurePosixPath(path.replace("\\", "/"))
    return bool(path) and "\0" not in path and not parts.is_absolute() and ".." not in parts.parts


def tidy(text: str) -> str:
    """One line without blanks at its ends: the form in which encoders read texts."""
    return " ".join(text.split())

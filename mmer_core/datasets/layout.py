"""Finding files in trees that are nested one level too deep or too shallow."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from mmer_core.datasets.walking import listed
from mmer_core.errors import DatasetError

DEPTH = 3
"""Depth below the root that is searched."""
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
"""Suffixes, in lower case, of the photos that datasets consist of."""


def require_folder(root: Path, what: str) -> None:
    """Raise `DatasetError` unless root is a folder."""
    if not os.path.exists(root):
        raise DatasetError(f"{what} folder {root} does not exist: give the folder that holds the dataset")
    if not os.path.isdir(root):
        raise DatasetError(f"{what} folder {root} is a file: unpack it and give the unpacked folder")


def folders(root: Path, depth: int = DEPTH) -> Iterator[Path]:
    """The root and the folders below it in breadth-first order, each level sorted by name."""
    level = [root]
    for _ in range(depth + 1):
        yield from level
        level = [parent / name for parent in level for name in listed(parent)[0]]


def find_file(root: Path, name: str) -> Path | None:
    """The shallowest file of this name."""
    return next((folder / name for folder in folders(root) if os.path.isfile(folder / name)), None)


def find_base(root: Path, members: Collection[str]) -> Path | None:
    """The folder below which most of these relative paths exist (ties: the shallowest), if any exists."""
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

"""Finding files in trees that were unpacked one level too deep, or one too shallow."""

import csv
import os
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from mmer_core.errors import DatasetError

DEPTH = 3
"""Folders below the root that are searched."""


def require_folder(root: Path, what: str) -> None:
    """Raises `DatasetError` unless root is a folder."""
    if not root.exists():
        raise DatasetError(f"{what} folder {root} does not exist: give the folder that holds the dataset")
    if not root.is_dir():
        raise DatasetError(f"{what} folder {root} is a file: unpack it and give the unpacked folder")


def folders(root: Path, depth: int = DEPTH) -> Iterator[Path]:
    """The root and the folders below it, shallow before deep, each level in order of name."""
    level = [root]
    for _ in range(depth + 1):
        yield from level
        # scandir knows folders without a look at each of many thousand photos.
        level = [
            parent / name
            for parent in level
            for name in sorted(entry.name for entry in os.scandir(parent) if entry.is_dir())
        ]


def find_file(root: Path, name: str) -> Path | None:
    """The shallowest file of this name."""
    return next((folder / name for folder in folders(root) if (folder / name).is_file()), None)


def find_base(root: Path, members: Collection[str]) -> Path | None:
    """The folder below which most of these relative paths exist (the shallowest of equals), if any does."""
    best, most = None, 0
    for folder in folders(root):
        found = sum((folder / member).exists() for member in members)
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


def read_csv(path: Path, required: Collection[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """First line and cells of each row of a CSV with a header; bytes that are not UTF-8 become U+FFFD.

    Surplus cells are joined to the last column with commas: caption files without quotes are common.

    Raises:
        DatasetError: The file is missing, empty, or lacks a required column.
    """
    try:
        handle = path.open(encoding="utf-8-sig", errors="replace", newline="")
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}; give a CSV file") from None
    with handle:
        reader = csv.reader(handle)
        header = [cell.strip().lower() for cell in next(reader, [])]
        missing = [name for name in required if name not in header]
        if missing:
            state = "is empty" if not header else f"lacks the column {', '.join(missing)}"
            raise DatasetError(f"{path} {state}: its first line must name {', '.join(required)}")
        line = reader.line_num
        for cells in reader:
            # A quoted cell may run over several lines; a row stands where it begins.
            first, line = line + 1, reader.line_num
            if any(cell.strip() for cell in cells):
                last = ",".join(cells[len(header) - 1 :])
                yield first, dict(zip(header, [*cells[: len(header) - 1], last], strict=False))

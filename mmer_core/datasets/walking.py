"""All files below a folder, also of folders that are links: photos are often on another disk than what lists them."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mmer_core.errors import DatasetError

_MOST_LINKS = 10_000
"""Linked folders of a dataset; folders that link one another have more paths than anybody can follow."""


def walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, folders and files in order, and into linked folders as well; but never into one that it is in already.

    Raises:
        DatasetError: There is no end of linked folders.
    """
    yield from _walk(os.fspath(root), (), iter(range(_MOST_LINKS)), root)


def _walk(
    folder: str, above: tuple[str, ...], links: Iterator[int], root: Path
) -> Iterator[tuple[str, list[str], list[str]]]:
    here = os.path.realpath(folder)
    if here in above:
        return
    if os.path.islink(folder) and above and next(links, None) is None:
        raise DatasetError(
            f"{root} has more than {_MOST_LINKS:,} links to folders: remove those that lead to one another"
        )
    below, names = listed(folder)
    yield folder, below, names
    for name in below:
        yield from _walk(os.path.join(folder, name), (*above, here), links, root)


def listed(folder: str | Path) -> tuple[list[str], list[str]]:
    """Names of the folders in a folder, links to folders among them, and of all else, each in order; none of an unreadable one,
    as what is in it is missing where it is needed."""
    below: list[str] = []
    names: list[str] = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            (below if _is_folder(entry) else names).append(entry.name)
    return below, names


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere
        return False

"""The files of a folder that is, or becomes, an artifact."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmer_core.errors import StoreError
from mmer_core.store.artifact import checked_path
from mmer_core.store.backend import disk_errors
from mmer_core.store.foreign import is_foreign
from mmer_core.store.manifest import FileEntry
from mmer_core.store.pieces import Digests


def scan(folder: Path, *, foreign: bool = False) -> tuple[FileEntry, ...]:
    """All files below a folder, hashed, in the order of their paths.

    Args:
        foreign: Whether what desktops and file systems put there counts, too.

    Raises:
        StoreError: It is not a folder, or it holds a link, a special file, or a name that artifacts may not have.
    """
    with disk_errors(folder):
        if not folder.is_dir():
            raise StoreError(f"{folder} is not a folder: give the folder that holds the artifact's files")
        files = sorted(_regular_files(folder, "", foreign))
        sizes = {path: path.stat().st_size for _, path in files}
        # A thread a core, and the largest file first: it takes longest.
        with ThreadPoolExecutor(os.cpu_count()) as pool, ThreadPoolExecutor(os.cpu_count()) as beside:
            largest_first = sorted(sizes, key=sizes.__getitem__, reverse=True)
            digests = pool.map(lambda path: Digests.of(path, beside), largest_first)
            found = dict(zip(largest_first, digests, strict=True))
        return tuple(_entry(name, found[path]) for name, path in files)


def _entry(name: str, found: Digests) -> FileEntry:
    return FileEntry(path=name, size=found.size, sha256=found.sha256, pieces=found.pieces)


def _regular_files(folder: Path, prefix: str, foreign: bool) -> Iterable[tuple[str, Path]]:
    for path in folder.iterdir():
        if is_foreign(path.name) and not foreign:
            continue
        name = checked_path(prefix + path.name)
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise StoreError(f"{path} is a link or a special file: an artifact holds regular files only")
        if path.is_dir():
            yield from _regular_files(path, f"{name}/", foreign)
        else:
            yield name, path

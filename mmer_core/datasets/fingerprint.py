"""The identity of a folder, as used in artifact keys."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmer_core.errors import DatasetError

THREADS = 8
"""Hashing waits for the disk as much as for the CPU, and releases the GIL."""


def fingerprint(root: Path) -> str:
    """SHA-256 (hexadecimal) over the sorted relative paths and full contents of all files, or of a single file.

    Raises:
        DatasetError: The path does not exist, or the single file cannot be read.
    """
    if os.path.isfile(root):
        return _digest(root).hex()
    if not os.path.isdir(root):
        raise DatasetError(f"{root} does not exist: give the folder of a dataset")
    named = sorted((os.fsencode(path.relative_to(root).as_posix()), path) for path in _files(root))
    total = hashlib.sha256()
    with ThreadPoolExecutor(THREADS) as pool:
        contents = pool.map(_content, [path for _, path in named])
        for (name, _), digest in zip(named, contents, strict=True):
            # Prefix each name with its length, so that different folders never hash the same bytes.
            total.update(len(name).to_bytes(8, "big") + name + digest)
    return total.hexdigest()


def digests(base: Path, names: Sequence[str]) -> dict[str, bytes | None]:
    """SHA-256 of files below a folder, by relative name; None for a file that is missing or unreadable."""
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda name: _content(base / name) or None, names)
        return dict(zip(names, found, strict=True))


def _files(root: Path) -> list[Path]:
    return [Path(folder) / name for folder, _, names in os.walk(root) for name in names]


def _content(path: Path) -> bytes:
    """The digest of a dataset file, or empty bytes if it cannot be read.

    A dangling link, a pipe or an unreadable photo is a fault of that file alone, reported when the file is needed.
    """
    try:
        return _digest(path) if os.path.isfile(path) else b""
    except DatasetError:
        return b""


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").digest()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}; make it readable") from None

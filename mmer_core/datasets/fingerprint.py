"""The identity of a folder, as used in artifact keys."""

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmer_core.datasets.walking import walk
from mmer_core.errors import DatasetError

THREADS = max(4, os.cpu_count() or 1)
"""Hashing releases the GIL, and waits for the disk where files are not cached; more threads mainly wait for each other."""

_TOGETHER = 16
"""Files that a thread is handed at once: handing over a photo costs as much as hashing it."""


class _Chunk(threading.local):
    """What a thread reads into: new memory for every photo would take as long as reading it."""

    def __init__(self) -> None:
        self.bytes = memoryview(bytearray(2**18))


_chunk = _Chunk()


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
    for (name, _), digest in zip(named, _contents([path for _, path in named]), strict=True):
        # Prefix each name with its length, so that different folders never hash the same bytes.
        total.update(len(name).to_bytes(8, "big") + name + digest)
    return total.hexdigest()


def digests(base: Path, names: Sequence[str]) -> dict[str, bytes | None]:
    """SHA-256 of files below a folder, by relative name; None for a file that is missing or unreadable."""
    found = (digest or None for digest in _contents([base / name for name in names]))
    return dict(zip(names, found, strict=True))


def _files(root: Path) -> list[Path]:
    return [Path(folder) / name for folder, _, names in walk(root) for name in names]


def _contents(paths: Sequence[Path]) -> Iterator[bytes]:
    """`_content` of every path, in their order."""
    parts = [paths[start : start + _TOGETHER] for start in range(0, len(paths), _TOGETHER)]
    with ThreadPoolExecutor(THREADS) as pool:
        for digests in pool.map(lambda part: [_content(path) for path in part], parts):
            yield from digests


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
        with path.open("rb", buffering=0) as handle:
            digest = hashlib.sha256()
            while size := handle.readinto(_chunk.bytes):
                digest.update(_chunk.bytes[:size])
            return digest.digest()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}; make it readable") from None

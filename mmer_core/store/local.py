"""Objects as files below one folder."""

import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import ClassVar, TypeVar

from mmer_core.durable import finish, make_folder, no_links, sync_folder
from mmer_core.errors import StoreError
from mmer_core.store.backend import CHUNK, MissingObjectError, StoredObject, disk_errors, sha256_of
from mmer_core.store.foreign import is_foreign

T = TypeVar("T")

TEMPORARY = ".tmp-"
"""Prefix of the name of an unfinished file or folder; object names never start with a dot."""

_PLACES = ("blobs", "artifacts", "trash", "gc")
"""Folders of a store that hold objects; fetched artifacts are elsewhere."""

_DEEPEST = 4  # segments of a key
_PATIENCE = 2.0  # seconds to wait for another writer to remove its unfinished file


class LocalBackend:
    """A folder on a file system, which several processes may use at once.

    Files are written under a temporary name in their own folder, synced, and then renamed or linked, so
    that a crash at any moment leaves either the whole object or none. Finished objects have mode 0444.

    Exclusive creation uses a hard link, which fails if the name is taken. On file systems without hard links (FAT,
    exFAT, many network shares), a folder that contains the file is renamed instead, which fails if a non-empty folder
    of that name exists.

    Args:
        root: Folder of the store, created by the first write.

    Raises:
        StoreError: ``root`` exists and is not a folder.
    """

    read_attempts = 1

    _links: ClassVar[dict[Path, bool]] = {}
    _probing: ClassVar[Lock] = Lock()

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self.url = self.root.as_uri()
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"the store {self.root} is a file: give the path of a folder")

    def ensure_writable(self) -> None:
        """Try to write, and once per process and store determine how files can be created exclusively.

        Raises:
            StoreError: The store is not writable, or two writers could overwrite each other.
        """
        with disk_errors(self.root):
            trial = _temporary(self.root / "blobs")
            trial.touch()
            trial.unlink(missing_ok=True)
            self._has_links()

    def put_file(self, key: str, source: Path, sha256: str, *, adopt: bool) -> None:
        def write(temporary: Path) -> None:
            adopted = adopt and _link_durably(source, temporary)
            if not adopted and _copy_durably(source, temporary) != sha256:
                raise StoreError(f"{source} changed while it was being published: publish it again")

        self._put(key, write)

    def put_bytes(self, key: str, data: bytes) -> None:
        self._put(key, lambda temporary: _write_durably(temporary, data))

    def create_exclusive(self, key: str, data: bytes) -> bool:
        target = self.root / key
        with disk_errors(target):
            while self._has_links():
                temporary = _temporary(target.parent)
                try:
                    _write_durably(temporary, data)
                    os.link(temporary, target)
                    sync_folder(target.parent)
                    return True
                except FileExistsError:
                    return _taken(target)
                except FileNotFoundError:  # a collection removed it as a killed writer's leftover
                    continue
                except OSError as error:
                    if not no_links(error):
                        raise
                    self._links[self.root] = False
                finally:
                    temporary.unlink(missing_ok=True)
            while (created := _created_by_rename(target, data)) is None:
                pass
            return created

    def read_bytes(self, key: str) -> bytes:
        return self._read(key, Path.read_bytes)

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        def read(path: Path) -> bytes:
            with path.open("rb") as file:
                file.seek(start)
                return file.read(stop - start)

        return self._read(key, read)

    def path(self, key: str) -> Path | None:
        path = self.root / key
        return path if path.is_file() else None

    def hash(self, key: str) -> str:
        return self._read(key, sha256_of)

    def materialise(self, key: str, target: Path) -> str:
        source = _object_file(self.root / key)
        with disk_errors(target):
            return sha256_of(target) if _linked(source, target) else _copy_durably(source, target)

    def exists(self, key: str) -> bool:
        return (self.root / key).is_file()

    def stat(self, key: str) -> StoredObject | None:
        path = self.root / key
        with disk_errors(path):
            try:
                return _stored(key, path.stat()) if path.is_file() else None
            except FileNotFoundError:
                return None

    def copy(self, source: str, target: str) -> None:
        here = _object_file(self.root / source)

        def write(temporary: Path) -> None:
            if not _linked(here, temporary):
                _copy_durably(here, temporary)

        self._put(target, write)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        with disk_errors(self.root):
            yield from self._walk(self.root / prefix, prefix)

    def delete(self, key: str) -> bool:
        path = self.root / key
        with disk_errors(path):
            path.unlink(missing_ok=True)
        return True

    def free_unfinished(self, before: float) -> Iterator[int]:
        """Remove temporary files and folders of killed writers."""
        with disk_errors(self.root):
            for place in _PLACES:
                yield from free_temporaries(self.root / place, before)

    def checkouts(self, cache: Path) -> Path:
        """The store's own ``checkout`` folder, where hard links take no space, unless it is read-only."""
        if not self.root.exists() or os.access(self.root, os.W_OK):
            return self.root / "checkout"
        return cache

    def _put(self, key: str, write: Callable[[Path], None]) -> None:
        """Give a file its name once it is written; again if a collection removes it as a killed writer's leftover."""
        target = self.root / key
        with disk_errors(target):
            while True:
                temporary = _temporary(target.parent)
                try:
                    write(temporary)
                    with suppress(FileNotFoundError):
                        temporary.rename(target)
                        sync_folder(target.parent)
                        return
                finally:
                    temporary.unlink(missing_ok=True)

    def _read(self, key: str, read: Callable[[Path], T]) -> T:
        path = _object_file(self.root / key)
        with disk_errors(path):
            try:
                return read(path)
            except FileNotFoundError:
                raise _missing(path) from None

    def _walk(self, folder: Path, prefix: str) -> Iterator[StoredObject]:
        """Regular files, including those behind symbolic links, since an operator may have moved a part to another disk."""
        if prefix.count("/") > _DEEPEST:
            return
        with suppress(FileNotFoundError):
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                # `exists` is false for a dangling or circular link.
                if entry.name.startswith(".") or (entry.is_symlink() and not os.path.exists(entry)):
                    continue
                with suppress(FileNotFoundError):  # deleted since the scan
                    if entry.is_dir():
                        yield from self._walk(folder / entry.name, f"{prefix}{entry.name}/")
                    elif entry.is_file():
                        yield _stored(prefix + entry.name, entry.stat())

    def _has_links(self) -> bool:
        """Whether the store's file system has hard links. Raises `StoreError` and `OSError`."""
        with self._probing:
            while self.root not in self._links:
                # Not found means that a collection removed the probe as a killed writer's leftover.
                with suppress(FileNotFoundError):
                    self._links[self.root] = self._probe()
            return self._links[self.root]

    def _probe(self) -> bool:
        place = _temporary(self.root / "blobs")
        try:
            for name in ("one", "two"):
                make_folder(place / name)
                (place / name / "file").touch()
            try:
                os.link(place / "one" / "file", place / "one" / "link")
                return True
            except OSError as error:
                if not no_links(error):
                    raise
            try:
                (place / "one").rename(place / "two")
            except OSError:
                return False
            raise StoreError(
                f"the file system of {self.root} has no hard links and replaces folders that are not empty, so two "
                "writers could overwrite each other: choose a folder on another one"
            )
        finally:
            shutil.rmtree(place, ignore_errors=True)


def free_temporaries(folder: Path, before: float, depth: int = _DEEPEST) -> Iterator[int]:
    """Remove entries with temporary names that were last written before a time; yield the bytes of each.

    Args:
        depth: Maximal depth at which a store writes; anything deeper belongs to others.
    """
    for path in _temporaries(folder, depth):
        with suppress(FileNotFoundError):
            if last_written(path) < before:
                size = bytes_below(path)
                # Rename it away first: its owner may be alive and about to give it its final name.
                away = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
                path.rename(away)
                remove(away)
                yield size


def last_written(path: Path) -> float:
    """Time of the last write to a file, or to any entry of a folder."""
    times = [path.lstat().st_mtime]
    if path.is_dir() and not path.is_symlink():
        for entry in path.iterdir():
            with suppress(FileNotFoundError):
                times.append(last_written(entry))
    return max(times)


def bytes_below(path: Path) -> int:
    """Bytes freed by removing a file or a folder, without holes and files that have other hard links."""
    status = path.lstat()
    if path.is_dir() and not path.is_symlink():
        total = 0
        for entry in path.iterdir():
            with suppress(FileNotFoundError):
                total += bytes_below(entry)
        return total
    return min(status.st_size, 512 * status.st_blocks) if status.st_nlink == 1 else 0


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with its contents."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _temporaries(folder: Path, depth: int) -> Iterator[Path]:
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in sorted(folder.iterdir()):
            if path.name.startswith(TEMPORARY):
                yield path
            elif depth and path.is_dir() and not path.is_symlink():
                yield from _temporaries(path, depth - 1)


def _object_file(path: Path) -> Path:
    """Return the path if it is a regular file, because reading a pipe would block forever.

    Raises `MissingObjectError` otherwise.
    """
    if not path.is_file():
        raise _missing(path)
    return path


def _missing(path: Path) -> MissingObjectError:
    return MissingObjectError(f"{path} is missing")


def _taken(path: Path) -> bool:
    """Return False, since an object exists where one was to be created. Raises `StoreError` if it is not an object."""
    if os.path.lexists(path) and not path.is_file():
        raise StoreError(f"{path} is a folder, a broken link or a special file, and no object: remove it")
    return False


def _stored(key: str, status: os.stat_result) -> StoredObject:
    return StoredObject(key, status.st_size, status.st_mtime, max(status.st_mtime, status.st_ctime))


def _temporary(folder: Path) -> Path:
    """A new temporary name in a folder, which is created durably if necessary."""
    make_folder(folder)
    return folder / f"{TEMPORARY}{uuid.uuid4().hex}"


def _created_by_rename(target: Path, data: bytes) -> bool | None:
    """Create a file, alone in its folder, by renaming a folder that contains it.

    Returns:
        False if the file exists already; None if a collection removed the unfinished folder as a leftover.
    """
    folder = target.parent
    deadline = time.monotonic() + _PATIENCE
    own = _temporary(folder.parent)
    try:
        own.mkdir()
        _write_durably(own / target.name, data)
        sync_folder(own)
        while not target.exists():
            try:
                own.rename(folder)
                sync_folder(folder.parent)
                return True
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            in_the_way = _cleared(folder)
            if in_the_way and not target.exists() and time.monotonic() > deadline:
                raise StoreError(
                    f"{folder} holds {in_the_way[0]}, which keeps an artifact from being stored there: remove it"
                )
            time.sleep(0.01)
        return _taken(target)
    except FileNotFoundError:
        return None
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _cleared(folder: Path) -> list[str]:
    """Remove files that desktops and network file systems add to folders; return the names of all others."""
    left = []
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            try:
                if not is_foreign(path.name):
                    raise OSError
                path.unlink()
            except OSError:
                left.append(path.name)
        # Not every file system allows renaming a folder over an empty one.
        with suppress(OSError):
            folder.rmdir()
    return left


def _write_durably(target: Path, data: bytes) -> None:
    """Write a new read-only file and sync it."""
    with target.open("xb") as file:
        file.write(data)
        finish(file)


def _copy_durably(source: Path, target: Path) -> str:
    """Copy to a new read-only file, sync it, and return the SHA-256 of the copied bytes.

    Raises `MissingObjectError` if the source does not exist.
    """
    digest = hashlib.sha256()
    try:
        reader = source.open("rb")
    except FileNotFoundError:
        raise _missing(source) from None
    with reader, target.open("xb") as writer:
        while chunk := reader.read(CHUNK):
            digest.update(chunk)
            writer.write(chunk)
        finish(writer)
    return digest.hexdigest()


def _linked(source: Path, target: Path) -> bool:
    """Hard-link a file; False if it has to be copied instead.

    Raises `MissingObjectError` if the source does not exist.
    """
    if source.is_symlink():
        return False
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise _missing(source) from None
    except OSError:  # another file system, or one with too few hard links
        return False
    return True


def _link_durably(source: Path, target: Path) -> bool:
    """Hard-link a file, make it read-only and sync it; False if it has to be copied instead."""
    try:
        os.utime(source)  # `Store.gc` spares what is new in the store, even if the file itself is old
    except OSError:
        return False
    if not _linked(source, target):
        return False
    with target.open("rb") as file:
        finish(file)
    return True

"""Objects as files below one folder."""

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from mmer_core.errors import StoreError
from mmer_core.store.backend import CHUNK, MissingObjectError, StoredObject, disk_errors, sha256_of

T = TypeVar("T")

TEMPORARY = ".tmp-"
"""Beginning of the name of a file or folder that is not finished; no object's name begins with a dot."""


class LocalBackend:
    """A folder on a file system with hard links; several processes may use it at once.

    Files are written under a temporary name in their own folder, synced, and then renamed or linked, so
    that a crash at any moment leaves either the whole object or none. Finished objects have mode 0444.

    Args:
        root: Folder of the store, created by the first write.

    Raises:
        StoreError: ``root`` is there and is not a folder.
    """

    read_attempts = 1

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self.url = self.root.as_uri()
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"the store {self.root} is a file: give the path of a folder")

    def ensure_writable(self) -> None:
        with disk_errors(self.root):
            trial = _temporary(self.root / "blobs")
            trial.touch()
            trial.unlink()

    def put_file(self, key: str, source: Path, sha256: str, *, adopt: bool) -> None:
        target = self._path(key)
        with disk_errors(target):
            temporary = _temporary(target.parent)
            try:
                adopted = adopt and _link_durably(source, temporary)
                if not adopted and _copy_durably(source, temporary) != sha256:
                    raise StoreError(f"{source} changed while it was being published: publish it again")
                temporary.rename(target)
                _sync_folder(target.parent)
            finally:
                temporary.unlink(missing_ok=True)

    def create_exclusive(self, key: str, data: bytes) -> bool:
        target = self._path(key)
        with disk_errors(target):
            temporary = _temporary(target.parent)
            try:
                with temporary.open("xb") as file:
                    file.write(data)
                    file.flush()
                    _finish(file.fileno())
                os.link(temporary, target)
                _sync_folder(target.parent)
            except FileExistsError:
                return False
            finally:
                temporary.unlink(missing_ok=True)
        return True

    def read_bytes(self, key: str) -> bytes:
        return self._read(key, Path.read_bytes)

    def hash(self, key: str) -> str:
        return self._read(key, sha256_of)

    def materialise(self, key: str, target: Path) -> str:
        source = self._path(key)
        with disk_errors(target):
            try:
                os.link(source, target)
            except FileNotFoundError:
                raise MissingObjectError(f"{source} is missing") from None
            except OSError:  # another file system, or one with too few hard links
                return _copy_durably(source, target)
            return sha256_of(target)

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def modified(self, key: str) -> float | None:
        path = self._path(key)
        with disk_errors(path):
            try:
                return path.stat().st_mtime
            except FileNotFoundError:
                return None

    def list(self, prefix: str) -> Iterator[StoredObject]:
        with disk_errors(self.root):
            yield from self._walk(self._path(prefix), prefix)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with disk_errors(path):
            path.unlink(missing_ok=True)

    def checkouts(self, cache: Path) -> Path:
        """The store's own ``checkout`` folder, where hard links cost no space, unless it is read-only."""
        if not self.root.exists() or os.access(self.root, os.W_OK):
            return self.root / "checkout"
        return cache

    def _path(self, key: str) -> Path:
        return self.root / key

    def _read(self, key: str, read: Callable[[Path], T]) -> T:
        path = self._path(key)
        with disk_errors(path):
            try:
                return read(path)
            except FileNotFoundError:
                raise MissingObjectError(f"{path} is missing") from None

    def _walk(self, folder: Path, prefix: str) -> Iterator[StoredObject]:
        with suppress(FileNotFoundError):
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from self._walk(folder / entry.name, f"{prefix}{entry.name}/")
                elif entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):  # deleted since the scan
                        status = entry.stat()
                        yield StoredObject(prefix + entry.name, status.st_size, status.st_mtime)


def _temporary(folder: Path) -> Path:
    """A fresh unfinished name in a folder, which is created durably when it is not there."""
    make_folder(folder)
    return folder / f"{TEMPORARY}{uuid.uuid4().hex}"


def make_folder(folder: Path) -> None:
    """Create a folder and its parents so that they outlive a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _copy_durably(source: Path, target: Path) -> str:
    """Copy into a new read-only file, sync it, and return the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(CHUNK):
            digest.update(chunk)
            writer.write(chunk)
        writer.flush()
        _finish(writer.fileno())
    return digest.hexdigest()


def _link_durably(source: Path, target: Path) -> bool:
    """Give a file a second name, make it read-only and sync it; False where there are no hard links."""
    try:
        os.link(source, target)
    except OSError:
        return False
    os.utime(target)  # `Store.gc` spares what is new in the store, however old the file is
    with target.open("rb") as file:
        _finish(file.fileno())
    return True


def _finish(descriptor: int) -> None:
    os.fchmod(descriptor, 0o444)
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""What a place that keeps bytes must be able to do; everything else is shared logic in `store`."""

import errno
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mmer_core.errors import MmerError, StoreError

CHUNK = 1 << 20
"""Bytes read at a time when hashing or copying."""

_FULL = "cannot be written because the disk is full: free some space or choose a folder elsewhere"
_FULL_CODES = (errno.ENOSPC, errno.EDQUOT)
_NO_ROOM = 64 << 10
"""Free bytes below which a disk is full to libraries that do not say why they failed."""


class MissingObjectError(StoreError):
    """Nothing is stored under this object key."""


@dataclass(frozen=True)
class StoredObject:
    """One object: its key, size in bytes, and time of its last write in seconds since the epoch."""

    key: str
    size: int
    modified: float


class Backend(Protocol):
    """Bytes by object key (``/``-separated safe segments). All methods raise `StoreError`.

    Attributes:
        url: What `open_store` takes to open the same place.
        read_attempts: How often a read with wrong bytes is worth repeating (1: never).
    """

    url: str
    read_attempts: int

    def ensure_writable(self) -> None:
        """Find out before any work is done whether writes will work and can be trusted."""

    def put_file(self, key: str, source: Path, sha256: str, *, adopt: bool) -> None:
        """Store a file's bytes, durably and all or nothing, over whatever was there.

        With ``adopt`` nobody writes to the file any more, so it may become the object itself, without a copy.

        Raises `StoreError` also when the bytes that arrived do not have this SHA-256.
        """

    def create_exclusive(self, key: str, data: bytes) -> bool:
        """Store bytes unless something is there already; False when something is (maybe these bytes)."""

    def read_bytes(self, key: str) -> bytes:
        """A small object whole. Raises `MissingObjectError`."""

    def materialise(self, key: str, target: Path) -> str:
        """Put an object's bytes into the new file ``target`` and return their SHA-256.

        Raises `MissingObjectError`.
        """

    def hash(self, key: str) -> str:
        """SHA-256 of the stored bytes. Raises `MissingObjectError`."""

    def exists(self, key: str) -> bool:
        """Whether something is stored under the key."""

    def modified(self, key: str) -> float | None:
        """Time of the object's last write in seconds since the epoch; None when it is not there."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All objects below a prefix that ends in ``/``, in an order that depends on nothing but their keys."""

    def delete(self, key: str) -> None:
        """Remove an object if it is there."""

    def checkouts(self, cache: Path) -> Path:
        """Folder for materialised artifacts: ``cache``, or a better one that the backend has itself."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` into a `StoreError` of one sentence about ``path``."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path} {_reason(error)}") from error


@contextmanager
def full_disk_told(folder: Path) -> Iterator[None]:
    """Turn whatever a library raises when the disk below ``folder`` is full into a `StoreError` that says so."""
    try:
        yield
    except MmerError:
        raise
    except Exception as error:
        if _was_full(error) or shutil.disk_usage(folder).free < _NO_ROOM:
            raise StoreError(f"{folder} {_FULL}") from error
        raise


def _was_full(error: BaseException | None) -> bool:
    """Whether an error says so, or one that it was raised for or while handling."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL_CODES:
            return True
        error = error.__cause__ or error.__context__
    return False


def _reason(error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    if error.errno in _FULL_CODES:
        return _FULL
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"cannot be used ({reason}): choose a folder that you may write to"
        case errno.ENOTDIR | errno.EEXIST:
            return f"cannot be used because a file stands where a folder must be ({reason}): choose another folder"
    return f"cannot be used ({reason}): check the folder or choose another one"

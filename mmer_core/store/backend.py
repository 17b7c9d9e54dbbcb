"""The interface of a storage backend; all other logic is shared and lives in `store`."""

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from mmer_core import signals
from mmer_core.errors import MmerError, StoreError

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 1 << 20
"""Chunk size in bytes for hashing and copying."""

_AT_ONCE = 8  # parallel requests to a server

_FULL = "cannot be written because the disk is full: free some space or choose a folder elsewhere"
_FULL_CODES = (errno.ENOSPC, errno.EDQUOT)
_NO_ROOM = 64 << 10
"""Free bytes below which an unexplained failure of a library is attributed to a full disk."""


class MissingObjectError(StoreError):
    """No object exists under this key."""


@dataclass(frozen=True)
class StoredObject:
    """One object.

    Attributes:
        size: In bytes.
        modified: Time of its last write by the backend's clock, in seconds since the epoch.
        placed: Time of its arrival at this place by the same clock. It is later than ``modified`` for files that were
            unpacked or copied with their dates; the object's content is never newer.
    """

    key: str
    size: int
    modified: float
    placed: float


class Backend(Protocol):
    """Bytes by object key (``/``-separated safe segments). All methods raise `StoreError`.

    Attributes:
        url: URL for `open_store` to open the same place.
        read_attempts: How often to try a read that returns wrong bytes (1: no retry).
    """

    url: str
    read_attempts: int

    def ensure_writable(self) -> None:
        """Check before any work whether writes will succeed and can be trusted."""

    def put_file(self, key: str, source: Path, sha256: str, *, adopt: bool) -> None:
        """Store a file's bytes durably and atomically, replacing an existing object.

        With ``adopt`` the caller no longer writes to the file, so it may become the object itself without a copy.

        Raises `StoreError` also if the stored bytes do not have this SHA-256.
        """

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store a few bytes atomically, replacing an existing object."""

    def create_exclusive(self, key: str, data: bytes) -> bool:
        """Store bytes unless an object exists already; return False if one does (possibly with the same bytes).

        The key's parent (up to the last ``/``) must contain no other object.
        """

    def read_bytes(self, key: str) -> bytes:
        """Read a small object. Raises `MissingObjectError`."""

    def materialise(self, key: str, target: Path) -> str:
        """Write an object's bytes to the new file ``target`` and return their SHA-256.

        Raises `MissingObjectError`, and then leaves no file.
        """

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """The bytes ``start:stop`` of an object; fewer where it ends before. Raises `MissingObjectError`."""

    def path(self, key: str) -> Path | None:
        """The file of an object, which nobody may write to, if it is one of this machine."""

    def hash(self, key: str) -> str:
        """SHA-256 of the stored bytes. Raises `MissingObjectError`."""

    def exists(self, key: str) -> bool:
        """Whether an object exists under the key."""

    def stat(self, key: str) -> StoredObject | None:
        """The object under the key, or None."""

    def copy(self, source: str, target: str) -> None:
        """Copy an object to another key. Raises `MissingObjectError`."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All objects below a prefix that ends in ``/``, in an order that depends only on their keys."""

    def delete(self, key: str) -> bool:
        """Delete an object if it exists.

        Returns:
            Whether the deletion is final. It is not if a request got no answer and was repeated: the first one may
            still be executed, and delete what is stored under the key by then.
        """

    def free_unfinished(self, before: float) -> Iterator[int]:
        """Remove unfinished writes of killed processes, last modified before a time; yield the bytes of each."""

    def checkouts(self, cache: Path) -> Path:
        """Folder for materialised artifacts: ``cache``, or the backend's own if it has a better one."""


def in_parallel(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Apply ``work`` to several items in parallel; results in the order of the items."""
    todo = list(items)
    if len(todo) < 2:
        return [work(item) for item in todo]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(work, todo))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Convert an `OSError` into a `StoreError` with one sentence about ``path``."""
    try:
        yield
    except OSError as error:
        signals.add(signals.STORE_ERRORS, 1, store="file")
        raise StoreError(f"{path} {_reason(error)}") from error


@contextmanager
def full_disk_reported(folder: Path) -> Iterator[None]:
    """Convert any exception caused by a full disk below ``folder`` into a `StoreError` that says so."""
    try:
        yield
    except MmerError:
        raise
    except Exception as error:
        if _was_full(error) or shutil.disk_usage(folder).free < _NO_ROOM:
            raise StoreError(f"{folder} {_FULL}") from error
        raise


def _was_full(error: BaseException | None) -> bool:
    """Whether an error, its cause or its context reports a full disk."""
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
            return (
                f"cannot be used because a file is where a folder must be ({reason}): choose another folder"
            )
        case errno.EISDIR:
            return f"is a folder where a file must be ({reason}): remove it"
    return f"cannot be used ({reason}): check the folder or choose another one"

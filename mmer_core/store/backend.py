"""What a place that keeps bytes must be able to do; everything else is shared logic in `store`."""

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from mmer_core.errors import MmerError, StoreError

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 1 << 20
"""Bytes read at a time when hashing or copying."""

_AT_ONCE = 8  # requests to a server

_FULL = "cannot be written because the disk is full: free some space or choose a folder elsewhere"
_FULL_CODES = (errno.ENOSPC, errno.EDQUOT)
_NO_ROOM = 64 << 10
"""Free bytes below which a disk is full to libraries that do not say why they failed."""


class MissingObjectError(StoreError):
    """Nothing is stored under this object key."""


@dataclass(frozen=True)
class StoredObject:
    """One object.

    Attributes:
        size: In bytes.
        modified: Time of its last write by the clock of whoever keeps it, in seconds since the epoch.
        placed: Time at which it came to this place by the same clock. It differs from ``modified`` where files are
            unpacked or copied together with their dates; what is inside cannot be newer.
    """

    key: str
    size: int
    modified: float
    placed: float


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

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store a few bytes, all or nothing, over whatever was there."""

    def create_exclusive(self, key: str, data: bytes) -> bool:
        """Store bytes unless something is there already; False when something is (maybe these bytes).

        Next to the key, below the same last ``/``, there must be no other object.
        """

    def read_bytes(self, key: str) -> bytes:
        """A small object whole. Raises `MissingObjectError`."""

    def materialise(self, key: str, target: Path) -> str:
        """Put an object's bytes into the new file ``target`` and return their SHA-256.

        Raises `MissingObjectError`, and leaves no file then.
        """

    def hash(self, key: str) -> str:
        """SHA-256 of the stored bytes. Raises `MissingObjectError`."""

    def exists(self, key: str) -> bool:
        """Whether something is stored under the key."""

    def stat(self, key: str) -> StoredObject | None:
        """What is stored under the key, None when nothing is."""

    def copy(self, source: str, target: str) -> None:
        """Have an object's bytes under another key as well. Raises `MissingObjectError`."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All objects below a prefix that ends in ``/``, in an order that depends on nothing but their keys."""

    def delete(self, key: str) -> bool:
        """Remove an object if it is there.

        Returns:
            Whether that is over. It is not when a request got no answer and was made again: the first one may still
            arrive, and remove what is stored under the key by then.
        """

    def free_unfinished(self, before: float) -> Iterator[int]:
        """Remove what killed writers left unfinished and was last written before a time; the bytes of each."""

    def checkouts(self, cache: Path) -> Path:
        """Folder for materialised artifacts: ``cache``, or a better one that the backend has itself."""


def in_parallel(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Do the same for several objects at a time; the results in the order of the items."""
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
        case errno.EISDIR:
            return f"is a folder where a file must be ({reason}): remove it"
    return f"cannot be used ({reason}): check the folder or choose another one"

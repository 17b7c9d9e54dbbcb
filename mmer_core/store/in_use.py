"""Which fetched artifacts living processes use, so that none is removed while in use."""

import atexit
import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from threading import Lock

from mmer_core.durable import make_folder

_LISTS, _LOCK = ".users", "lock"
_MOST = 16  # folders with an open list per process; one or two except in test runs


@dataclass(frozen=True)
class _List:
    """The names that a process uses in a folder: a file, locked by the process."""

    path: Path
    descriptor: int
    process: int

    def close(self) -> None:
        if self.process == os.getpid():
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


_lists: dict[Path, _List] = {}
_making = Lock()


def claim(folder: Path, name: str) -> None:
    """Mark something in a folder as used by this process, for as long as it or a forked child lives.

    The kernel releases the lock on the list when its last holder dies. If the folder cannot be written or locked,
    this does nothing, and `unclaimed` returns None.
    """
    with suppress(OSError):
        make_folder(folder / _LISTS)
        with _locked(folder, fcntl.LOCK_SH), _making:
            os.write(_list_of_this_process(folder).descriptor, f"{name}\n".encode())


@contextmanager
def unclaimed(folder: Path) -> Iterator[set[str] | None]:
    """Names that are in use; no process can claim another one while the block runs.

    None where this is unknown: the file system has no locks, or a list belongs to another user and cannot be read.
    """
    try:
        make_folder(folder / _LISTS)
        lock = _locked(folder, fcntl.LOCK_EX)
    except OSError:
        yield None
        return
    with lock:
        yield _all_claimed(folder)


def _all_claimed(folder: Path) -> set[str] | None:
    try:
        return {name for path in (folder / _LISTS).iterdir() for name in _claimed(path)}
    except OSError:
        return None


def _locked(folder: Path, how: int) -> FileIO:
    """A lock on a folder, released when the file is closed."""
    file = FileIO(folder / _LISTS / _LOCK, "a")
    try:
        fcntl.flock(file, how)
    except BaseException:
        file.close()
        raise
    return file


def _list_of_this_process(folder: Path) -> _List:
    known = _lists.get(folder)
    if known is not None and os.fstat(known.descriptor).st_nlink:
        return known
    if known is not None:  # another process has emptied the whole folder
        _lists.pop(folder).close()
    elif len(_lists) == _MOST:
        _lists.pop(next(iter(_lists))).close()
    path = folder / _LISTS / uuid.uuid4().hex
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    _lists[folder] = _List(path, descriptor, os.getpid())
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return _lists[folder]


def _claimed(path: Path) -> list[str]:
    """Names on a process's list; none if the process is dead, in which case its list is removed."""
    if path.name == _LOCK or not path.is_file():
        return []
    # The list may belong to another user. Network file systems grant exclusive locks only on writable files.
    with path.open("r+" if os.access(path, os.W_OK) else "r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return file.read().split()
        with suppress(OSError):  # a leftover in another user's folder is harmless
            path.unlink()
        return []


@atexit.register
def release() -> None:
    """Release everything that this process has claimed, in all folders."""
    with _making:
        while _lists:
            with suppress(OSError):
                _lists.popitem()[1].close()

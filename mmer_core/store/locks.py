"""Locks between the processes and threads of a machine, which the kernel releases when their holder dies."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmer_core.errors import StoreError
from mmer_core.store.backend import disk_errors

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_held: set[int] = set()


class NoLocksError(StoreError):
    """The file system has no locks."""


class Busy(Exception):
    """Another process holds the lock."""


@contextmanager
def only_one(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel releases it when its holder dies."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(path, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    _held.add(descriptor)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        _held.discard(descriptor)
        os.close(descriptor)


def _locked(path: Path, how: int) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, how)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise Busy from None
            if error.errno in _NO_LOCKS:
                path.unlink(missing_ok=True)
                raise NoLocksError(
                    f"{path.parent} is on a file system without locks ({error.strerror}), so that two runs could disturb "
                    "each other's work: name a folder on a disk of this machine with --work"
                ) from error
            raise
        try:
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)  # the last holder removed the file while this process waited for it


def _forget_locks() -> None:
    """Close inherited locks in a forked child, which would otherwise keep them when the parent is killed."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_locks)

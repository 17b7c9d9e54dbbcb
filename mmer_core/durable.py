"""Making files durable, also on file systems with limited features.

FAT, SMB shares, FUSE and some network file systems cannot sync a folder or change a mode. A missing feature does not
make a write fail; an error of the disk itself (full, broken) does.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_NOT_OFFERED = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY}
_NO_FOLDER_SYNC = _NOT_OFFERED | {errno.EBADF, errno.EISDIR, errno.EACCES, errno.EPERM}
_NO_MODES = _NOT_OFFERED | {errno.EPERM, errno.EACCES}
_NO_LINKS = _NOT_OFFERED | {errno.EPERM, errno.EACCES, errno.EMLINK, errno.EXDEV}


def sync(descriptor: int) -> None:
    """Flush a file to disk, so that its contents survive a power failure, as far as its file system supports it."""
    with _tolerated(_NOT_OFFERED):
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Flush the directory entries of a folder in the same way."""
    with _tolerated(_NO_FOLDER_SYNC):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def set_mode(file: int | Path, mode: int) -> None:
    """Change the permissions of a file or folder, if the file system allows it."""
    with _tolerated(_NO_MODES):
        os.fchmod(file, mode) if isinstance(file, int) else os.chmod(file, mode)


def finish(file: IO[bytes]) -> None:
    """Make a file read-only and durable once it is written."""
    file.flush()
    set_mode(file.fileno(), 0o444)
    sync(file.fileno())


def no_links(error: OSError) -> bool:
    """Whether an error of `os.link` means that the file system has no hard links, or no more for this file."""
    return error.errno in _NO_LINKS


def make_folder(folder: Path) -> None:
    """Create a folder and its parents durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


@contextmanager
def _tolerated(codes: set[int]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in codes:
            raise

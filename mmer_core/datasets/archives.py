"""Datasets as downloaded: .zip and .tar archives, unpacked with nothing taken on trust.

An archive with a path that leaves its folder, a link, a device, or more than the limits below is refused
whole. Files get their final names when they are complete, so an interrupted run goes on where it stopped.
"""

import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from mmer_core.datasets.layout import stays_inside
from mmer_core.errors import DatasetError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_MEMBERS = 500_000
MAX_BYTES = 2**38
"""Unpacked size of one archive, in bytes (256 GB)."""
MAX_RATIO = 100
"""Unpacked to packed size; photos hardly compress, so an archive that exceeds this is a bomb."""
RATIO_FLOOR = 2**26
"""Archives that unpack to fewer bytes than this may compress as well as they like."""

_BY_HAND = "if you trust it, unpack it yourself and give the folder"
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


class _Opener(Protocol):
    def __call__(self) -> IO[bytes]: ...


@dataclass(frozen=True)
class _Member:
    """A regular file of an archive."""

    name: str
    size: int
    open: _Opener


def is_archive(path: Path) -> bool:
    """Whether this is a file with the name of an archive that `unpacked` reads."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def unpacked(root: Path, target: Path) -> Path:
    """The folder to read a dataset from: ``root`` itself, or ``target`` with the archives' contents.

    A folder may hold archives beside, or instead of, what they contain: all are unpacked into one tree, and
    the rest of the folder is linked into it. Archives whose files lie there unpacked already are left alone.

    Args:
        root: A folder, or one archive.
        target: Scratch folder; may hold what an interrupted call has left.

    Raises:
        DatasetError: An archive is damaged, unsafe or too large, or the disk is full.
    """
    archives = [root] if is_archive(root) else sorted(filter(is_archive, _children(root)))
    pending = [path for path in archives if path == root or not _there_already(path, root)]
    if not pending:
        return root
    for archive in pending:
        with _explained(archive):
            target.mkdir(parents=True, exist_ok=True)
            extract(archive, target)
    if root.is_dir():
        _link_rest(root, target)
    return target


def extract(archive: Path, target: Path) -> None:
    """Unpack the regular files of one archive; those that ``target`` holds in full are kept.

    Raises:
        DatasetError: A member is unsafe, or the archive exceeds a limit.
    """
    total = 0
    packed = archive.stat().st_size
    with _opened(archive) as members:
        for count, member in enumerate(members, start=1):
            total += member.size
            if count > MAX_MEMBERS:
                raise DatasetError(f"{archive} holds more than {MAX_MEMBERS} files: {_BY_HAND}")
            if total > MAX_BYTES or total > max(RATIO_FLOOR, MAX_RATIO * packed):
                raise DatasetError(
                    f"{archive} ({packed} bytes) unpacks to at least {total} bytes: {_BY_HAND}"
                )
            place = target / PurePosixPath(member.name.replace("\\", "/"))
            # A link in the target, from an earlier call for another folder, must not be written through.
            if not place.parent.resolve().is_relative_to(target.resolve()):
                raise DatasetError(
                    f"{target} links out of itself at {place.parent}: give an empty scratch folder"
                )
            if not (place.is_file() and place.stat().st_size == member.size):
                _write(member, place)


def _write(member: _Member, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    # Not named like the member: a name of the longest length would have no room for a suffix.
    partial_file = place.parent / ".mmer-partial"
    with member.open() as source, partial_file.open("wb") as sink:
        shutil.copyfileobj(source, sink, 2**20)
        written = sink.tell()
    if written != member.size:
        raise EOFError(f"{member.name} holds {written} bytes where {member.size} are announced")
    partial_file.replace(place)


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[_Member]]:
    """The regular files of an archive, in its order, to be read one after the other."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            yield _zip_members(archive, zipped)
    else:
        with tarfile.open(archive) as tarred:
            yield _tar_members(archive, tarred)


def _zip_members(archive: Path, zipped: zipfile.ZipFile) -> Iterator[_Member]:
    for info in zipped.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        _check(archive, info.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
        if not info.is_dir():
            yield _Member(info.filename, info.file_size, partial(zipped.open, info))


def _tar_members(archive: Path, tarred: tarfile.TarFile) -> Iterator[_Member]:
    for info in tarred:
        _check(archive, info.name, plain=info.isreg() or info.isdir())
        if info.isreg():
            yield _Member(info.name, info.size, partial(_tar_file, tarred, info))


def _tar_file(tarred: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file: Any = tarred.extractfile(info)
    return file


def _check(archive: Path, name: str, *, plain: bool) -> None:
    if not stays_inside(name) or ":" in name.split("/")[0]:
        raise DatasetError(f"{archive} holds {name!r}, a path outside its folder: do not use this archive")
    if not plain:
        raise DatasetError(f"{archive} holds {name!r}, a link or device: {_BY_HAND}")


@contextmanager
def _explained(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(f"{archive} cannot be unpacked ({reason}): download it again") from None
    except OSError as error:
        raise DatasetError(f"{archive} cannot be unpacked: {error.strerror or error}") from None


def _children(root: Path) -> list[Path]:
    return list(root.iterdir()) if root.is_dir() else []


def _there_already(archive: Path, root: Path) -> bool:
    """Whether every file of a .zip lies in the folder with its size; a .tar has no directory to look it up in."""
    if not archive.name.lower().endswith(".zip"):
        return False
    with _explained(archive), _opened(archive) as members:
        return all(_size(root / member.name) == member.size for member in members)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _link_rest(root: Path, target: Path) -> None:
    """Make what lies beside the archives visible in the unpacked tree; what was unpacked wins."""
    for entry in os.scandir(root):
        place = target / entry.name
        if is_archive(Path(entry.path)):
            continue
        if not place.exists():
            place.unlink(missing_ok=True)
            place.symlink_to(Path(entry.path).absolute())
        elif entry.is_dir() and place.is_dir() and not place.is_symlink():
            _link_rest(Path(entry.path), place)

"""Datasets as downloaded: .zip and .tar archives, treated as untrusted input.

An archive is refused as a whole if a path leaves its folder, if it holds a link, a device or a duplicate name, or if
it exceeds a limit below. A file gets its final name once it is complete, so an interrupted run resumes.
"""

import bz2
import errno
import gzip
import io
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from mmer_core.datasets.layout import stays_inside
from mmer_core.datasets.tar_stream import Bomb, TarStream
from mmer_core.errors import DatasetError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_MEMBERS = 500_000
MAX_BYTES = 2**38
"""Unpacked size of one archive, in bytes (256 GB)."""
MAX_RATIO = 100
"""Ratio of unpacked to packed size; photos hardly compress, so an archive that exceeds this is a bomb."""
RATIO_FLOOR = 2**26
"""Archives that unpack to fewer bytes than this may have any compression ratio."""
MAX_DIRECTORY = 2**26
"""Size in bytes of a zip's central directory, which takes about 15 times as much memory."""
MAX_NAME = 255
"""Bytes of a file name; the limit of common file systems."""

_BY_HAND = "if you trust it, unpack it yourself and give the folder"
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
)
# Other methods need as much memory as the archive asks for (LZMA), or are not supported by Python.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_ENCRYPTED = 1
_XZ = b"\xfd7zXZ\0"


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

    A folder may hold archives next to, or instead of, their contents. All archives are unpacked into one tree, and
    the rest of the folder is linked into it. Archives that were already unpacked in place are skipped.

    Args:
        root: A folder, or one archive.
        target: Scratch folder; may hold the leftovers of an interrupted call.

    Raises:
        DatasetError: An archive is damaged, unsafe or too large, or the disk is full.
    """
    archives = [root] if is_archive(root) else sorted(filter(is_archive, _children(root)))
    pending = [path for path in archives if path == root or not _there_already(path, root)]
    if not pending:
        return root
    for archive in pending:
        extract(archive, target)
    if root.is_dir():
        _link_rest(root, target)
    return target


def extract(archive: Path, target: Path) -> None:
    """Unpack the regular files of one archive; files that are complete in ``target`` are kept.

    Raises:
        DatasetError: A member is unsafe, the archive is damaged or exceeds a limit, or the disk is full.
    """
    with _explained(archive):
        target.mkdir(parents=True, exist_ok=True)
        _extract(archive, target)


def _extract(archive: Path, target: Path) -> None:
    total = 0
    seen: set[Path] = set()
    with _opened(archive) as members:
        for count, member in enumerate(members, start=1):
            total += member.size
            if count > MAX_MEMBERS:
                raise DatasetError(f"{archive} holds more than {MAX_MEMBERS} files: {_BY_HAND}")
            if total > _most_bytes(archive):
                raise _too_large(archive, total)
            place = target / PurePosixPath(member.name.replace("\\", "/"))
            if place in seen:
                raise DatasetError(f"{archive} holds {member.name!r} twice: {_BY_HAND}")
            seen.add(place)
            # Never write through a link that an earlier call for another folder left in the target.
            if not place.parent.resolve().is_relative_to(target.resolve()):
                raise DatasetError(
                    f"{target} links out of itself at {place.parent}: give an empty scratch folder"
                )
            if not (place.is_file() and place.stat().st_size == member.size):
                _write(member, place)


def _write(member: _Member, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    # Not named after the member: a name of maximal length has no room for a suffix.
    partial_file = place.parent / ".mmer-partial"
    with member.open() as source, partial_file.open("wb") as sink:
        shutil.copyfileobj(source, sink, 2**20)
        written = sink.tell()
    if written != member.size:
        raise EOFError(f"{member.name} holds {written} bytes, but its header announces {member.size}")
    partial_file.replace(place)


def _most_bytes(archive: Path) -> int:
    return min(MAX_BYTES, max(RATIO_FLOOR, MAX_RATIO * archive.stat().st_size))


def _too_large(archive: Path, least: int) -> DatasetError:
    packed = archive.stat().st_size
    return DatasetError(f"{archive} ({packed} bytes) unpacks to at least {least} bytes: {_BY_HAND}")


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[_Member]]:
    """The regular files of an archive in its order, to be read one after the other."""
    if archive.name.lower().endswith(".zip"):
        with _Bounded(archive) as file, zipfile.ZipFile(file) as zipped:
            yield _zip_members(archive, zipped)
    else:
        with _decompressed(archive) as content:
            yield _tar_members(archive, TarStream(content, _most_bytes(archive)))


class _Bounded(io.FileIO):
    """A zip file that refuses to load an oversized central directory, which `zipfile` reads in one call."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise DatasetError(f"{self.name} has a list of contents of {size} bytes: {_BY_HAND}")
        return super().read(size)


def _zip_members(archive: Path, zipped: zipfile.ZipFile) -> Iterator[_Member]:
    for info in zipped.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        # Python truncates names at NUL.
        odd = "" if kind in (0, stat.S_IFREG, stat.S_IFDIR) else "a link or device"
        _check(archive, info.orig_filename if "\0" in info.orig_filename else info.filename, odd)
        if info.flag_bits & _ENCRYPTED:
            raise DatasetError(f"{archive} is encrypted: unpack it yourself and give the folder")
        if info.compress_type not in _METHODS:
            raise DatasetError(f"{archive} is compressed by method {info.compress_type}: {_BY_HAND}")
        if not info.is_dir():
            yield _Member(info.filename, info.file_size, partial(zipped.open, info))


def _decompressed(archive: Path) -> gzip.GzipFile | bz2.BZ2File | io.BufferedReader:
    """Open a tar; the compression is detected from its first bytes, because names are unreliable."""
    with archive.open("rb") as file:
        start = file.read(len(_XZ))
    if start == _XZ:
        raise DatasetError(f"{archive} is compressed by xz: {_BY_HAND}")
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(archive)
    return bz2.BZ2File(archive) if start.startswith(b"BZh") else archive.open("rb")


def _tar_members(archive: Path, stream: TarStream) -> Iterator[_Member]:
    try:
        for entry in stream.entries():
            _check(archive, entry.name, entry.odd)
            if not entry.folder:
                yield _Member(entry.name, entry.size, partial(stream.content, entry.size))
    except Bomb as bomb:
        raise _too_large(archive, bomb.position) from None


def _check(archive: Path, name: str, odd: str) -> None:
    """Refuse a name that leaves the folder or that no file can have, and members that are ``odd`` (not a file or folder)."""
    if not stays_inside(name) or ":" in name.split("/")[0]:
        raise DatasetError(f"{archive} holds {name!r}, a path outside its folder: do not use this archive")
    if odd:
        raise DatasetError(f"{archive} holds {name!r}, {odd}: {_BY_HAND}")
    if any(len(os.fsencode(part)) > MAX_NAME for part in PurePosixPath(name).parts):
        raise DatasetError(
            f"{archive} holds {name[:40]!r}…, a name of more than {MAX_NAME} bytes: {_BY_HAND}"
        )


@contextmanager
def _explained(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise _damaged(archive, error) from None
    except OSError as error:
        # Errors of decompressors have no errno, and a wrong offset is reported as an invalid argument.
        if error.errno in (None, errno.EINVAL):
            raise _damaged(archive, error) from None
        raise DatasetError(f"{archive} cannot be unpacked: {error.strerror or error}") from None


def _damaged(archive: Path, error: Exception) -> DatasetError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DatasetError(f"{archive} cannot be unpacked ({reason}): download it again")


def _children(root: Path) -> list[Path]:
    return list(root.iterdir()) if root.is_dir() else []


def _there_already(archive: Path, root: Path) -> bool:
    """Whether the folder has every file of a .zip with its size. Never for a .tar, which has no directory to look in."""
    if not archive.name.lower().endswith(".zip"):
        return False
    with _explained(archive), _opened(archive) as members:
        return all(_size(root / member.name) == member.size for member in members)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _link_rest(root: Path, target: Path) -> None:
    """Link everything else in ``root`` into the unpacked tree; unpacked files take precedence."""
    for entry in os.scandir(root):
        place = target / entry.name
        if is_archive(Path(entry.path)):
            continue
        if not place.exists():
            place.unlink(missing_ok=True)
            place.symlink_to(Path(entry.path).absolute())
        elif entry.is_dir() and place.is_dir() and not place.is_symlink():
            _link_rest(Path(entry.path), place)

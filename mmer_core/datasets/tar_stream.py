"""The entries of a tar file, read from front to back in bounded memory and time.

Python's `tarfile` reads a header of any announced size, loops forever on negative sizes, takes quadratic time for some
extended headers, and treats a damaged header as the end of the archive. Here each of these is an error.
"""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Protocol

MAX_HEADER = 2**20
"""Bytes of an extended header: a long name, or pax attributes of a file."""

_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 2**20
_LONG_NAME, _LONG_LINK = tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_GLOBAL = tarfile.XGLTYPE
_EXTENDED = (*_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK)
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


class Seekable(Protocol):
    """A file that is read sequentially, with skips."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, /) -> int: ...


class Bomb(Exception):
    """The tar exceeds its limit; ``position`` is a lower bound of its length in bytes."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


@dataclass(frozen=True)
class Entry:
    """A file, a folder, or something else, described by ``odd``."""

    name: str
    size: int
    folder: bool
    odd: str


class TarStream:
    """An opened, decompressed tar.

    Args:
        most: Maximal length in bytes.
    """

    def __init__(self, file: Seekable, most: int) -> None:
        self._file, self._most = file, most
        self._position = 0

    def entries(self) -> Iterator[Entry]:
        """All entries in order. An entry's content can be read only until the next entry is requested.

        Raises:
            TarError, EOFError: The tar is damaged.
            Bomb: The tar exceeds its limit.
        """
        everywhere: dict[str, str] = {}
        extended: dict[str, str] = {}
        while block := self._read(_BLOCK):
            if not block.strip(b"\0"):
                return
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            if info.size < 0:
                raise tarfile.ReadError("a size below zero")
            if info.type in _EXTENDED:
                fields = self._extended(info)
                (everywhere if info.type == _GLOBAL else extended).update(fields)
                continue
            entry = _entry(info, everywhere | extended)
            extended = {}
            end = self._position + (0 if entry.folder else _padded(entry.size))
            yield entry
            self._skip_to(end)

    def content(self, size: int) -> IO[bytes]:
        """The next bytes."""
        return io.BufferedReader(_Part(self, size), _CHUNK)

    def _extended(self, info: tarfile.TarInfo) -> dict[str, str]:
        if info.size > MAX_HEADER:
            raise tarfile.ReadError(f"an extended header of {info.size} bytes; {MAX_HEADER} are allowed")
        content = self._read(_padded(info.size))[: info.size]
        if len(content) < info.size:
            raise EOFError("it ends in the middle of a header")
        if info.type == _LONG_NAME:
            return {"path": content.partition(b"\0")[0].decode("utf-8", "surrogateescape")}
        return {} if info.type == _LONG_LINK else _records(content)

    def _read(self, size: int) -> bytes:
        self._position += size
        if self._position > self._most:
            raise Bomb(self._position)
        return self._file.read(size)

    def _skip_to(self, end: int) -> None:
        """Skip forward, and verify that the skipped bytes exist."""
        if end == self._position:
            return
        if end > self._most:
            raise Bomb(end)
        self._file.seek(end - 1)
        self._position = end
        if not self._file.read(1):
            raise EOFError("it ends in the middle of a file")


class _Part(io.RawIOBase):
    def __init__(self, stream: TarStream, size: int) -> None:
        self._stream, self._left = stream, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        data = self._stream._read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)


def _entry(info: tarfile.TarInfo, extended: dict[str, str]) -> Entry:
    name = extended.get("path", info.name)
    sparse = info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in extended)
    # Before tar had a type for folders, they were files with names that end in a slash.
    folder = info.isdir() or (info.type == tarfile.AREGTYPE and name.endswith("/"))
    odd = "a sparse file" if sparse else "" if folder or info.type in _PLAIN else "a link or device"
    return Entry(name, _number(extended["size"]) if "size" in extended else info.size, folder, odd)


def _records(content: bytes) -> dict[str, str]:
    """Parse pax records ``LENGTH KEY=VALUE`` and a line break, where LENGTH is that of the whole record."""
    fields, at = {}, 0
    while at < len(content) and content[at]:
        digits, space, _ = content[at : at + 20].partition(b" ")
        end = at + _number(digits.decode("latin-1"))
        key, equals, value = content[at + len(digits) + 1 : end - 1].partition(b"=")
        if not (space and equals and key) or content[end - 1 : end] != b"\n":
            raise tarfile.ReadError("an extended header that cannot be read")
        fields[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        at = end
    return fields


def _number(digits: str) -> int:
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 20):
        raise tarfile.ReadError("an extended header that cannot be read")
    return int(digits)


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK

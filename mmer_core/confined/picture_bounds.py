"""Checks of a picture before its pixels are decoded: its first bytes, its dimensions and its scans."""

import os
import re
import stat
from collections.abc import Iterator
from typing import IO

from mmer_core.confined.picture_limits import MAX_FILE_BYTES, MAX_RATIO, MAX_SCANS, MAX_SIDE

_BEGINNINGS = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "PPM": re.compile(rb"P[1-6fF]\s"),
}

_SCAN = b"\xff\xda"
END = 0xD9
"""The marker that ends a picture's data."""
_NEXT_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
"""End of entropy-coded data: 0xFF followed by neither a stuffed zero, nor a restart marker, nor a fill byte 0xFF."""
_ALONE = frozenset([0x01, *range(0xD0, 0xD9)])
"""Markers without a length field."""


class Refused(Exception):
    """A picture that must not be decoded; the message says why."""


def open_file(path: str) -> IO[bytes]:
    """Open a regular file; never blocks on a pipe. Raises `Refused`."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Refused("the file does not exist") from None
    except (OSError, ValueError) as error:
        raise Refused(f"the file cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    file = os.fdopen(handle, "rb") if stat.S_ISREG(os.fstat(handle).st_mode) else None
    if file is None:
        os.close(handle)
        raise Refused("it is no regular file")
    return file


def sniffed(content: bytes, formats: tuple[str, ...]) -> str | None:
    """The format that a file's first bytes indicate, if it is among those given; otherwise None."""
    return next(
        (one for one, begins in _BEGINNINGS.items() if one in formats and begins.match(content)), None
    )


def unknown(kind: str | None, formats: tuple[str, ...]) -> Refused:
    """The error for a file in none of the formats, or one that only begins like one of them."""
    if kind is not None:
        return Refused(
            f"cannot identify a picture in it: it begins like {kind}, and is damaged or of a rare kind"
        )
    names = ["WebP" if one == "WEBP" else one for one in formats]
    return Refused(f"cannot identify a picture in it: save it as {', '.join(names[:-1])} or {names[-1]}")


def check_size(width: int, height: int, most: int) -> None:
    """Raise `Refused` for more than ``most`` pixels, or for a shape that makes later processing too expensive."""
    if width * height > most:
        raise Refused(
            f"{width}x{height} pixels make {width * height} pixels, and more than {most} are refused"
        )
    longer, shorter = max(width, height), min(width, height)
    if longer > MAX_SIDE:
        raise Refused(f"{width}x{height} pixels: a side of more than {MAX_SIDE} pixels is refused")
    if longer > MAX_RATIO * shorter:
        raise Refused(f"{width}x{height} pixels: a side of more than {MAX_RATIO} times the other is refused")


def check_scans(content: bytes) -> None:
    """Raise `Refused` for a progressive JPEG whose scans cost far more than its size; baseline JPEGs cannot."""
    # Nearly every file has few of these byte pairs; only a file with many is parsed marker by marker.
    if content.count(_SCAN) > MAX_SCANS and _scans(content) > MAX_SCANS:
        raise Refused(f"it is a JPEG of more than {MAX_SCANS} scans")


def _scans(content: bytes) -> int:
    """Number of scans of the first picture in a JPEG file, without its thumbnail and without further pictures."""
    scans = 0
    for marker, _ in markers(content):
        scans += marker == _SCAN[1]
        if scans > MAX_SCANS:
            break
    return scans


def markers(content: bytes) -> Iterator[tuple[int, int]]:
    """The markers of the first picture in a JPEG file and their offsets; the last one is `END`, if present."""
    at = 2
    while found := _NEXT_MARKER.search(content, at):
        marker, at = found[1][0], found.end()
        yield marker, found.start()
        if marker == END:
            break
        if marker not in _ALONE:
            at += max(2, int.from_bytes(content[at : at + 2]))


_HEAD = 2**16
_START = b"\xff\xd8\xff"
_BASELINE, _SCANS_BEGIN, _TABLES = (0xC0, 0xC1), 0xDA, (0xC4, 0xDB, 0xDD, 0xFE)
_EXIF, _EXTENSIONS = 0xE1, range(0xE0, 0xF0)


def plain_jpeg(file: IO[bytes]) -> tuple[int, int] | None:
    """Width and height of a JPEG that needs no further look: gray or of three channels with 8 bits, in one pass over all
    pixels, upright, and one picture alone. None for any other file."""
    head = file.read(_HEAD)
    if not head.startswith(_START) or os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
        return None
    at, size = 2, None
    while len(head) >= at + 4 and head[at] == 0xFF:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        if marker == _SCANS_BEGIN:
            return size
        body = head[at + 4 : at + 2 + length]
        if length < 2 or len(body) < length - 2:
            return None
        if marker in _BASELINE and size is None and len(body) >= 6:
            bits, channels = body[0], body[5]
            size = int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")
            if bits != 8 or channels not in (1, 3) or not all(size):
                return None
        elif marker in _EXTENSIONS:
            # EXIF may turn it, and MPF name further pictures.
            if marker == _EXIF or body.startswith(b"MPF"):
                return None
        elif marker not in _TABLES:
            return None
        at += 2 + length
    return None

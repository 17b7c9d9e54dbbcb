"""What is refused of a picture before its pixels are decoded: by its first bytes, its sides and its scans."""

import re
from collections.abc import Iterator

from mmer_core.confined.picture_limits import MAX_RATIO, MAX_SCANS, MAX_SIDE

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
"""The marker behind a picture's data."""
_NEXT_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
"""In entropy-coded data: what follows 0xFF is neither a stuffed zero, nor a restart, nor a filling 0xFF."""
_ALONE = frozenset([0x01, *range(0xD0, 0xD9)])
"""Markers without a length."""


class Refused(Exception):
    """A picture that is not decoded; the message says why."""


def sniffed(content: bytes, formats: tuple[str, ...]) -> str | None:
    """The format that a file's first bytes promise, of those given; None for any other."""
    return next(
        (one for one, begins in _BEGINNINGS.items() if one in formats and begins.match(content)), None
    )


def unknown(kind: str | None, formats: tuple[str, ...]) -> Refused:
    """The refusal of what is in none of some formats, or only begins like one."""
    if kind is not None:
        return Refused(
            f"cannot identify a picture in it: it begins like {kind}, and is damaged or of a rare kind"
        )
    names = ["WebP" if one == "WEBP" else one for one in formats]
    return Refused(f"cannot identify a picture in it: save it as {', '.join(names[:-1])} or {names[-1]}")


def check_size(width: int, height: int, most: int) -> None:
    """Raises `Refused` for more pixels than ``most``, or for a shape that makes work out of proportion."""
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
    """Raises `Refused` for a progressive JPEG whose scans cost far more than their bytes; other JPEGs cannot."""
    # Nearly every file has few of these two bytes, wherever they are; only a file with many is read marker by marker.
    if content.count(_SCAN) > MAX_SCANS and _scans(content) > MAX_SCANS:
        raise Refused(f"it is a JPEG of more than {MAX_SCANS} scans")


def _scans(content: bytes) -> int:
    """Scans of the first picture in a JPEG file; none of a thumbnail, nor of what follows the picture."""
    scans = 0
    for marker, _ in markers(content):
        scans += marker == _SCAN[1]
        if scans > MAX_SCANS:
            break
    return scans


def markers(content: bytes) -> Iterator[tuple[int, int]]:
    """The markers of the first picture in a JPEG file and where they begin; the last is `END`, if it is there."""
    at = 2
    while found := _NEXT_MARKER.search(content, at):
        marker, at = found[1][0], found.end()
        yield marker, found.start()
        if marker == END:
            break
        if marker not in _ALONE:
            at += max(2, int.from_bytes(content[at : at + 2]))

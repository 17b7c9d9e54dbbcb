"""The lines of an external text file in any Unicode encoding."""

import codecs
import io
import re
from dataclasses import dataclass
from pathlib import Path

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # starts with the mark of UTF-16, so it must be tried first
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks with the encodings that they stand for."""
_ESCAPED = re.compile("[\udc80-\udcff]")

DAMAGED = "bytes that are not UTF-8: save the file as UTF-8"


@dataclass(frozen=True)
class Text:
    """A file's lines, each with its line break: LF or CR LF, or CR in a file without LF. No other character ends a line.

    Attributes:
        damaged: Indices (from 0) of lines with bytes that are invalid in the file's encoding and became U+FFFD.
    """

    lines: list[str]
    damaged: frozenset[int] = frozenset()


def read_lines(path: Path) -> Text:
    """Read UTF-8, or the encoding given by a byte order mark (UTF-16, UTF-32).

    Raises:
        OSError: The file cannot be read.
    """
    return decoded(path.read_bytes())


def read_text(path: Path) -> tuple[str, list[int]]:
    """The whole text, and the numbers (from 1) of its damaged lines. Raises `OSError`."""
    text = read_lines(path)
    return "".join(text.lines), sorted(place + 1 for place in text.damaged)


def decoded(content: bytes, otherwise: str = "utf-8") -> Text:
    """Decode these bytes into lines, by their byte order mark or ``otherwise`` in this encoding."""
    mark, encoding = next((one for one in MARKS if content.startswith(one[0])), (b"", otherwise))
    content = content.removeprefix(mark)
    try:
        return Text(_split(content.decode(encoding)))
    except UnicodeDecodeError:
        pass
    if encoding.lower() != "utf-8":
        lines = _split(content.decode(encoding, "replace"))
        return Text(lines, frozenset(place for place, line in enumerate(lines) if "\ufffd" in line))
    lines = _split(content.decode(encoding, "surrogateescape"))
    damaged = frozenset(place for place, line in enumerate(lines) if _ESCAPED.search(line))
    for place in damaged:
        lines[place] = lines[place].encode(encoding, "surrogateescape").decode(encoding, "replace")
    return Text(lines, damaged)


def single_line(text: str) -> str:
    """Collapse white space to single blanks and strip: the form in which encoders read texts."""
    return " ".join(text.split())


def _split(text: str) -> list[str]:
    # str.splitlines would also split at U+2028, form feeds and other characters that occur in captions.
    return list(io.StringIO(text, newline="\n" if "\n" in text else "\r"))

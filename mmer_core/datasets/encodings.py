"""The encoding of external text files that say nothing of it: found, and named as people know it."""

import codecs

from mmer_core.errors import DatasetError
from mmer_core.text_lines import MARKS

UTF8 = "UTF-8"
_NAMES = {"utf_8": UTF8, "cp1252": "Windows-1252", "cp1251": "Windows-1251", "cp1250": "Windows-1250"}
_PUNCTUATION = ((0x2010, 0x203A), (0x3000, 0x3003), (0xFF00, 0xFF5E))
"""Code points of dashes, quotes and ellipses, and of full-width punctuation."""


def encoding_of(content: bytes) -> str:
    """The encoding of some text: of its byte order mark, UTF-8 if it is valid as such, or else the likeliest one.

    The likeliest is that of ``charset-normalizer``, with two exceptions. Windows-1252 is preferred to equally likely ones
    and to one that gives the same characters, and any other encoding to those of old Macintoshes. And text whose only
    characters beyond ASCII are the quotes and dashes of GB18030 is GB18030, as is found where English text went through
    Chinese software.

    Returns:
        A name that `codecs.lookup` knows; ``""`` if no encoding fits.
    """
    if certain := certain_encoding(content):
        return certain
    punctuated = [one for one in _text(content, "gb18030") or "" if not one.isascii()]
    if punctuated and all(any(low <= ord(one) <= high for low, high in _PUNCTUATION) for one in punctuated):
        return named("gb18030")
    for encoding in _likeliest(content):
        if (text := _text(content, encoding)) is not None:
            return named("cp1252" if text == _text(content, "cp1252") else encoding)
    return ""


def certain_encoding(content: bytes) -> str:
    """The encoding that a byte order mark declares, or UTF-8 if the bytes are valid as such; else ``""``."""
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return named(encoding)
    return "" if _text(content, "utf-8") is None else UTF8


def named(encoding: str) -> str:
    """The usual name of an encoding.

    Raises:
        DatasetError: It is none that Python knows.
    """
    try:
        found = codecs.lookup(encoding).name
    except LookupError:
        raise DatasetError(
            f"{encoding!r} is no encoding: name one such as utf-8, gb18030, cp1252 or shift_jis"
        ) from None
    return _NAMES.get(found.replace("-", "_"), found.upper().replace("_", "-"))


def _likeliest(content: bytes) -> list[str]:
    from charset_normalizer import from_bytes

    # The library looks at samples of a long text, which may be ASCII throughout.
    found = list(from_bytes(b"\n".join(line for line in content.split(b"\n") if not line.isascii())))
    found.sort(key=lambda match: match.encoding.startswith("mac"))
    first = [
        match.encoding
        for match in found
        if (match.chaos, match.coherence) == (found[0].chaos, found[0].coherence)
    ]
    return ["cp1252"] * ("cp1252" in first) + [match.encoding for match in found]


def _text(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return None

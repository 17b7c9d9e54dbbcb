"""Writing out control and invisible characters: ``\\x1b`` for the escape that begins a control sequence."""

import re
from collections.abc import Callable

_ACTING = (
    "\x00-\x1f\x7f-\x9f"  # control characters: ESC, BEL, backspace, line breaks, and CSI and OSC in one character
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # writing direction
    "\u2028\u2029"  # line breaks
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0"  # invisible
    "\ufff0-\ufffb\ufffe\uffff\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\ud800-\udfff"  # surrogates, which no encoding can represent
)
_JOINING = "\u200c\u200d\ufe0e\ufe0f"
_SEEN = f"[^\x00-\x7f{_ACTING}{_JOINING}]"
"""Characters that joiners connect: letters of other scripts, and emoji."""

# A joiner is kept if it has something to join: in Persian words, in emoji of several parts, on a keycap.
_MISPLACED = (
    f"(?<!{_SEEN})(?<!{_SEEN}\ufe0f)\u200d|(?<!{_SEEN})\u200c|[\u200c\u200d](?!{_SEEN})"
    f"|(?<!{_SEEN})(?<![0-9#*](?=\ufe0f\u20e3))[\ufe0e\ufe0f]"
)
_IN_A_LINE = re.compile(f"[{_ACTING}]|{_MISPLACED}")
_IN_LINES = re.compile(f"(?![\n\t])[{_ACTING}]|{_MISPLACED}")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def one_line(text: object) -> str:
    """Text for one line of a terminal or a log: line breaks are escaped as well. Idempotent."""
    return _escaped(str(text), _IN_A_LINE, python_escape)


def visible(text: object) -> str:
    """Text of several lines: line breaks and tabs are kept. Idempotent."""
    return _escaped(str(text), _IN_LINES, python_escape)


def escape_controls(text: str, escape: Callable[[str], str]) -> str:
    """The same with another escape function."""
    return _escaped(text, _IN_LINES, escape)


def python_escape(character: str) -> str:
    """Escape a character as in a Python string."""
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escaped(text: str, acting: re.Pattern[str], escape: Callable[[str], str]) -> str:
    if text.isascii() and text.isprintable():
        return text
    return acting.sub(lambda found: escape(found[0]), text)

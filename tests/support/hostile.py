"""Text that people hand in to take over whatever shows it."""

import unicodedata

from hypothesis import strategies as st

CLEAR = "\x1b[2J\x1b[1;1H"
LINK = "\x1b]8;;http://evil.example/\x1b\\click\x1b]8;;\x1b\\"
CLIPBOARD = "\x1b]52;c;cm0gLXJmIC8=\x07"
C1 = "\x9b31m\x9d0;title\x9c\x90"
HOSTILE = (
    CLEAR,
    LINK,
    CLIPBOARD,
    C1,
    "over\rwritten\b\b\x7f",
    "two\nlines\r\n2026-01-01 ERROR forged\u2028\u2029\x85",
    "left\u202egpj.exe\u2066\u2069",
    "a\u200bb\ufeff\u2060\xad",
    "[red]red[/red] [link=http://evil.example]x[/link] [/]",
    '<script>alert("x")</script><img src=x onerror=alert(1)></script>',
    "[x](javascript:alert(1)) ![](http://evil.example/p.png) <javascript:alert(1)> <b>",
    "https://evil.example www.evil.example mailto:a@evil.example a@evil.example",
    "a | b ` c `` d *e* _f_ ~~g~~ $h$ [^1] &amp; &#x3c;script&#x3e; \\",
    "# heading",
    "---",
    "===",
    "1. one",
    "- one",
    "> quote",
    "    code",
    "``` fence",
    '=HYPERLINK("http://evil.example")',
    "+1+cmd|' /C calc'!A0",
    "@SUM(1)",
    "-1",
    "\t=1",
    "'=1",
    '"];\n}; x [label="',
    "\ud800half",
)
"""One of every kind."""

texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(alphabet=st.characters(), max_size=30),
    st.lists(st.sampled_from("".join(HOSTILE) + "\u200c\u200d\ufe0f😀مי ابc1#. "), max_size=12).map("".join),
)

_SEEN = {0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
"""Marks over numbers in Arabic and other scripts, which Unicode counts among the invisible ones."""


def acting(text: str, but: str = "") -> set[str]:
    """The characters of a text that act on what shows it; joiners are not counted."""
    return {
        one
        for one in text
        if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        and ord(one) not in _SEEN
        and one not in "\u200c\u200d"
        and one not in but
    }

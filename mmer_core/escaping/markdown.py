"""Literal text inside Markdown (CommonMark with GitHub's tables, links and formulas)."""

import re

from mmer_core.escaping.visible import one_line

_MARKUP = re.compile(r"[\\`*_\[\]|~$]|!(?=\[)")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LINK = re.compile(r"(?<=[A-Za-z]):(?=\S)|(?<=\S)@(?=\S)|(?<=www)\.", re.IGNORECASE)
_BLOCK = re.compile(r"^#(?=#*(?: |$))|^[+-](?= |$)|^[-=:](?=[-=: ]*$)|#(?=#*$)")
_NUMBERED = re.compile(r"^(\d+)([.)])(?= |$)")


def for_markdown(text: object) -> str:
    """Escape one line of text for any position in a line, a table's cell or a heading: no markup, HTML, link or block.

    It renders as `one_line` prints it, including leading and trailing blanks.
    """
    line = one_line(text)
    inner = line.strip()
    escaped = _MARKUP.sub(r"\\\g<0>", inner)
    escaped = re.sub("[&<>]", lambda found: _HTML[found[0]], escaped)
    escaped = _LINK.sub(r"\\\g<0>", escaped)
    # A heading, a list or a rule at the start, or the end of a heading.
    escaped = _BLOCK.sub(r"\\\g<0>", escaped)
    escaped = _NUMBERED.sub(r"\1\\\2", escaped)
    before, _, after = line.partition(inner) if inner else (line, "", "")
    return f"{_blanks(before)}{escaped}{_blanks(after)}"


def _blanks(text: str) -> str:
    """Encode leading and trailing blanks, which Markdown would drop."""
    return "".join(f"&#{ord(blank)};" for blank in text)


def for_code(text: object) -> str:
    """The same as a code span if it can hold the text, also in a table's cell."""
    line = one_line(text)
    if not line.strip() or line != line.strip() or re.search(r"[`|]|\\$", line):
        return for_markdown(line)
    return f"`{line}`"

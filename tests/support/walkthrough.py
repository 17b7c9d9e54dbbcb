"""A page of commands with what they print: read, run from top to bottom in one folder, compared, and recorded anew.

Blocks of a page: ``console``, a command after ``$`` (its lines end with a backslash where it goes on) and what it prints;
``pycon``, as `doctest` reads them; any other one below a line that ends with a file's name in backticks and a colon is that
file. Where a page says ``…``, anything may be printed. What another machine, day or version may print differently is
not compared: figures with a decimal point, numbers of samples that would decide, keys, dates and the width of blanks; a key
that a page has printed once stands for what is printed in its place ever after.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from doctest import DocTestParser
from pathlib import Path

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
_FILE = re.compile(r"`([\w.-]+)`:\n\n\Z")
_KEY = r"\b[a-z-]+/[0-9a-f]{4,32}\b"
_LOOSE = {
    "key": (_KEY, _KEY),
    "day": (r"\d{4}-\d\d-\d\d", r"\d{4}-\d\d-\d\d"),
    "time": (r"\d\d:\d\d\b", r"\d\d:\d\d"),
    "folder": (r"/\S+/\.mmer/\S+", r"/\S+/\.mmer/\S+"),
    "figure": (r"[-−]?\d+\.\d+", r"[-−]?\d+\.\d+"),
    "count": (r"about [\d,]+", r"about [\d,]+"),
    "any": ("…", r"[\s\S]*?"),
    "blank": (r"\s+", r"\s+"),
}
"""What of a page is compared loosely: how it is found there, and what may be printed in its place."""
SHORT = len("model/") + 4
"""Characters of a key in a page's commands."""
_LOOSELY = re.compile("|".join(f"(?P<{name}>{found})" for name, (found, _) in _LOOSE.items()))


@dataclass(frozen=True)
class Step:
    """A command, a statement of Python, or a file to write, with what it prints.

    Attributes:
        kind: ``console``, ``pycon`` or ``file``.
        given: The command or the statement; a file's name.
        said: What the page says that it prints; a file's content.
        place: Of ``said`` in the page, in characters.
    """

    kind: str
    given: str
    said: str
    place: tuple[int, int]


def commands(page: str) -> list[str]:
    """The commands of a page, as one line each."""
    return [step.given for step in steps(page) if step.kind == "console"]


def steps(page: str) -> Iterator[Step]:
    """What a page does, in order."""
    for block in _FENCE.finditer(page):
        language, content, start = block[1], block[2], block.start(2)
        if language == "console":
            for one in re.finditer(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", content, re.M):
                yield Step("console", one[1].replace("\\\n", ""), one[2], _moved(one.span(2), start))
        elif language == "pycon":
            for one in DocTestParser().get_examples(content):
                after = content.index(one.source.splitlines()[-1] + "\n", _offset(content, one.lineno))
                after += len(one.source.splitlines()[-1]) + 1
                said = content[after:].split(">>> ")[0] if one.want else ""
                yield Step("pycon", one.source, said, _moved((after, after + len(said)), start))
        elif name := _FILE.search(page, 0, block.start()):
            yield Step("file", name[1], content, _moved((0, len(content)), start))


def _moved(span: tuple[int, int], by: int) -> tuple[int, int]:
    return span[0] + by, span[1] + by


def _offset(text: str, line: int) -> int:
    return sum(len(one) for one in text.splitlines(keepends=True)[:line])


def plain(printed: str) -> str:
    """What was printed, without blanks at the ends of lines."""
    return "".join(f"{line.rstrip()}\n" for line in printed.strip("\n").splitlines())


@dataclass
class Walk:
    """Runs a page's steps.

    Attributes:
        run: Runs a command, and returns what it printed.
        space: Names of Python.
        keys: What was printed for keys of the page.
        printed: Of every step.
    """

    run: Callable[[str], str]
    space: dict[str, object] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    printed: list[str] = field(default_factory=list)

    def take(self, step: Step) -> str:
        """Do one step; returns what it printed."""
        if step.kind == "file":
            Path(step.given).write_text(step.said)
            return step.said
        given = re.sub(_KEY, lambda key: self._known(key[0]), step.given)
        return self.run(given) if step.kind == "console" else self._value(given)

    def agrees(self, said: str, printed: str) -> bool:
        """Whether a page says what was printed, and if so learn its keys."""
        groups: list[str] = []

        def loosely(found: re.Match[str]) -> str:
            if found.lastgroup == "key":
                groups.append(found[0])
                return f"({_KEY})"
            return _LOOSE[str(found.lastgroup)][1]

        pattern, end = "", 0
        text = said.strip()
        for found in _LOOSELY.finditer(text):
            pattern += re.escape(text[end : found.start()]) + loosely(found)
            end = found.end()
        match = re.fullmatch(pattern + re.escape(text[end:]), printed.strip())
        there = match.groups() if match else re.findall(_KEY, printed)
        self.keys.update(zip(groups, there, strict=False))
        return bool(match)

    def _known(self, key: str) -> str:
        return next((there for here, there in self.keys.items() if here.startswith(key)), key)

    def _value(self, source: str) -> str:
        tree = ast.parse(source)
        last = tree.body[-1]
        if not isinstance(last, ast.Expr):
            exec(compile(tree, "page", "exec"), self.space)
            return ""
        value = eval(compile(ast.Expression(last.value), "page", "eval"), self.space)
        return "" if value is None else f"{value!r}\n"


def recorded(page: str, walk: Walk) -> str:
    """The page with what was printed in place of what it said, and its keys in commands."""
    for step, text in reversed(list(zip(steps(page), walk.printed, strict=True))):
        if step.kind != "file":
            start, end = step.place
            tail = "\n" if step.kind == "pycon" and step.said.endswith("\n\n") else ""
            page = page[:start] + text + tail + page[end:]
    for here, there in walk.keys.items():
        page = re.sub(rf"{re.escape(here[:SHORT])}\b", there[:SHORT], page)
    return page

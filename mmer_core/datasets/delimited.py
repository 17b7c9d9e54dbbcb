"""Delimited text tables from outside (comma, semicolon or tab), in which a bad row costs only itself.

A quoted cell may span several lines. A stray quote looks like the start of one and would swallow every row up to the
next quote. So when a line ends inside quotes there are two ways to continue, and `_Quotes` takes the one that leaves
the fewest lines unread. A well-formed file reads exactly as with Python's ``csv``, with one exception: a cell never
swallows a line that is clearly a row of its own, that is, a line with a picture's name in the right column.
"""

import csv
import re
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from mmer_core.confined.picture_limits import SUFFIXES
from mmer_core.datasets.cells import CELL_LIMIT, flaws
from mmer_core.errors import DatasetError
from mmer_core.text_lines import Text, read_lines

TABLES = (".csv", ".tsv")
"""Suffixes of tables, where files of plain text are accepted too."""
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_HEADER_LINES = 20
_SEEN = 80
_EXCEL = re.compile(r"sep=.\s*", re.IGNORECASE)
"""A first line that spreadsheets write to declare the delimiter; the header shows the same."""
_PICTURE = re.compile(
    rf"({'|'.join(re.escape(suffix) for suffixes in SUFFIXES.values() for suffix in suffixes)})\s*$",
    re.IGNORECASE,
)


class Record(NamedTuple):
    """One row.

    Attributes:
        line: Number of the line on which it starts, from 1.
        cells: As many as the table has columns, unless there is a problem.
        problem: Why it cannot be read, or ``""``.
        damaged: Whether invalid bytes became U+FFFD in it.
    """

    line: int
    cells: list[str]
    problem: str = ""
    damaged: bool = False


@dataclass(frozen=True)
class Table:
    """A header and the records below it, without empty rows.

    Attributes:
        names: The header's cells, stripped; none in an empty file.
        usable: Whether the header has the columns that the caller needs, under one of the delimiters.
        seen: What the first line looks like, for an error message.
    """

    names: tuple[str, ...]
    usable: bool
    seen: str
    records: Iterator[Record]


def read_table(
    text: Text,
    usable: Callable[[Collection[str]], bool],
    *,
    start: int = 0,
    name: str = "",
    files: str = "",
    joined_to: str = "",
) -> Table:
    """Read a table with the delimiter under which its header is usable.

    Args:
        name: File name; in a ``.tsv`` tabs come first, otherwise the delimiter that gives the most columns.
        usable: Whether a header with these names (in lower case) has all required columns.
        start: Number of lines before the header.
        files: Name of the column with picture names, if any; a line with a picture name there is taken as a row.
        joined_to: If this is the last column, surplus cells are joined to it, because caption files without quotes
            are common.
    """
    names, delimiter, first, fits = _header(text.lines, start, usable, tabs=name.lower().endswith(".tsv"))
    if not fits:
        return Table(names, usable=False, seen=_seen(text.lines, start), records=iter(()))
    lowered = [name.lower() for name in names]
    place = lowered.index(files) if files in lowered else -1
    shape = _Shape(delimiter, len(names), place, joined=lowered[-1] == joined_to)
    return Table(names, usable=True, seen="", records=_records(text, first, shape))


def read_rows(
    path: Path, required: Sequence[str], *, files: str = "", joined_to: str = ""
) -> Iterator[tuple[Record, dict[str, str]]]:
    """The records of a file, each with its cells by column name in lower case.

    Args:
        required: Columns that the file must have.
        files, joined_to: As for `read_table`.

    Raises:
        DatasetError: The file is missing, empty, or lacks a required column.
    """
    try:
        text = read_lines(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"cannot read {path}: {reason}; give a CSV file") from None
    table = read_table(text, set(required).issubset, files=files, joined_to=joined_to)
    names = [name.lower() for name in table.names]
    if not table.usable:
        missing = [name for name in required if name not in names]
        state = f"lacks the column {', '.join(missing)}" if table.seen else "is empty"
        raise DatasetError(f"{path} {state}: its first line must name {', '.join(required)}{table.seen}")
    for record in table.records:
        yield record, dict(zip(names, record.cells, strict=False))


@dataclass(frozen=True)
class _Shape:
    """The expected shape of a row."""

    delimiter: str
    width: int
    files: int
    joined: bool

    def fits(self, count: int) -> bool:
        return count == self.width or (self.joined and count > self.width)

    def names_a_picture(self, cells: list[str]) -> bool:
        return self.files >= 0 and _PICTURE.search(cells[self.files]) is not None

    def parse(self, lines: list[str]) -> list[str]:
        """The cells of one record. Raises `csv.Error`."""
        if len(lines) == 1 and '"' not in lines[0]:
            return lines[0].rstrip("\r\n").split(self.delimiter)
        return next(csv.reader(lines, delimiter=self.delimiter, strict=True), [])

    def record(self, line: int, cells: list[str], *, long: bool, damaged: bool) -> Record:
        """A record of these cells; ``long`` if they may exceed the cell limit or hold NUL."""
        problem = flaws(cells) if long else ""
        count = len(cells)
        if not problem and not self.fits(count):
            cure = f"quote a cell that holds a {DELIMITERS[self.delimiter]}, and close every quote"
            problem = f"not as many cells as the header has: {count} cells, not {self.width}; {cure}"
        if not problem and count > self.width:
            last = self.width - 1
            cells = [*cells[:last], self.delimiter.join(cells[last:])]
        return Record(line, cells, problem, damaged)


def _header(
    lines: list[str], start: int, usable: Callable[[Collection[str]], bool], *, tabs: bool
) -> tuple[tuple[str, ...], str, int, bool]:
    """The header's names, the delimiter, the index of the first line below it, and whether it is usable."""
    while start < len(lines) and (not lines[start].strip() or _EXCEL.fullmatch(lines[start])):
        start += 1
    best: tuple[tuple[str, ...], str, int, bool] = ((), ",", start, False)
    for delimiter in DELIMITERS:
        reader = csv.reader(lines[start : start + _HEADER_LINES], delimiter=delimiter, strict=True)
        try:
            names = tuple(cell.strip() for cell in next(reader, []))
        except csv.Error:
            continue
        fits = usable([name.lower() for name in names])
        if (fits, tabs and delimiter == "\t", len(names)) > (best[3], tabs and best[1] == "\t", len(best[0])):
            best = names, delimiter, start + reader.line_num, fits
    return best


def _seen(lines: list[str], start: int) -> str:
    """A description of a header that lacks required columns, as the end of a sentence."""
    first = next((line.strip() for line in lines[start:] if line.strip()), "")
    if not first:
        return ""
    if "\0" in first:
        return "; it looks like UTF-16 without a byte order mark, so save the file as UTF-8"
    shown = first if len(first) <= _SEEN else first[: _SEEN - 1] + "…"
    return f", separated by comma, semicolon or tab, but it is {shown!r}"


def _records(text: Text, first: int, shape: _Shape) -> Iterator[Record]:
    lines, damaged, delimiter = text.lines, text.damaged, shape.delimiter
    quotes = _Quotes(lines, first, shape)
    place = first
    while place < len(lines):
        line = lines[place]
        at, end, cells, problem = place, place + 1, [], ""
        if '"' not in line:
            cells = line.rstrip("\r\n").split(delimiter)
        else:
            try:
                cells = shape.parse([line])
            except csv.Error:
                end, problem = quotes.step(place)
                cells, problem = _cells(lines[at:end], shape, problem)
        place = end
        if not problem and end == at + 1 and not any(cell.strip() for cell in cells):
            continue
        bad = bool(damaged) and not damaged.isdisjoint(range(at, end))
        if problem:
            yield Record(at + 1, cells, problem, bad)
            continue
        long = "\0" in line or len(line) > CELL_LIMIT or end - at > 1
        yield shape.record(at + 1, cells, long=long, damaged=bad)


def _cells(lines: list[str], shape: _Shape, problem: str) -> tuple[list[str], str]:
    """The cells of a record with quotes; if it has a problem, as much of its first line as can be read."""
    if not problem:
        try:
            return shape.parse(lines), ""
        except csv.Error:  # the scanner reads quotes as csv does, so only the length can be wrong
            problem = flaws(["".join(lines)]) or "its quotes cannot be read: close every quote"
    try:
        return next(csv.reader(lines[:1], delimiter=shape.delimiter), []), problem
    except csv.Error:
        return [], problem


class _End(Enum):
    """How a line ends with respect to quotes."""

    CLOSED = 0
    OPEN = 1
    BROKEN = 2


_OPENED = "a quote opens here and is not closed: close it, or write it twice where it is part of the text"
_BROKEN = "text follows a closing quote: write a quote that is part of the text twice"


class _Quotes:
    """Decides which lines belong together when quotes are open, in time linear in the number of lines.

    No cell is longer than `CELL_LIMIT`, which bounds the reach of a stray quote. Each line is scanned twice: as the
    start of a record, and as the continuation of a quoted cell. A pass from the end of the file to its start then
    finds the cheapest way through the rest from every line. Each unread line costs 1. Ties go to the way that puts
    fewer lines into cells, then to the one that gives up a line sooner, which keeps what follows.
    """

    def __init__(self, lines: list[str], first: int, shape: _Shape) -> None:
        self._lines, self._first, self._shape = lines, first, shape

    def step(self, place: int) -> tuple[int, str]:
        """The line after the record that starts on this line, and the record's problem."""
        ends, problems = self._way
        return ends[place - self._first], problems.get(place, "")

    @cached_property
    def _starts(self) -> list[int]:
        """Number of characters before each line, and before the end."""
        return [0, *accumulate(map(len, self._lines))]

    @cached_property
    def _way(self) -> tuple["array[int]", dict[int, str]]:
        """The next line to continue with from each line (indices below the header), and the problems."""
        lines, first, shape = self._lines, self._first, self._shape
        count = len(lines)
        unread = (count + 1) ** 2  # exceeds the cost of putting all lines into cells
        ends, costs = array("q", bytes(8 * (count - first))), [0] * (count + 1)
        problems: dict[int, str] = {}
        runs = (_End.OPEN, count, 0)  # a quoted cell that reaches the end of the file
        row = count  # index of the next line that is clearly a row
        for place in range(count - 1, first - 1, -1):
            line = lines[place]
            how, splits = self._alone(line)
            end, cost = place + 1, costs[place + 1]
            if how is _End.OPEN:
                end, cost, problems[place] = self._through(place, splits, runs, costs, row, unread)
            elif how is _End.BROKEN:
                cost, problems[place] = cost + unread, _BROKEN
            elif not shape.fits(splits + 1) and line.strip():
                cost += unread
            if splits >= shape.files >= 0 and self._is_row(line, how, splits):
                row = place
            ends[place - first], costs[place] = end, cost
            runs = self._inside(place, runs)
        return ends, {place: problem for place, problem in problems.items() if problem}

    def _through(
        self, place: int, splits: int, runs: tuple[_End, int, int], costs: list[int], row: int, unread: int
    ) -> tuple[int, int, str]:
        """Continue after a line that ends inside quotes: the end of the record, the cost from here, the problem."""
        how, end, more = runs
        alone = unread + costs[place + 1]
        if how is _End.CLOSED:
            short = self._starts[end] - self._starts[place] <= CELL_LIMIT
            sound = short and self._shape.fits(splits + more + 1)
            if sound and row < end and self._swallows(place, end, splits):
                return place + 1, alone, _OPENED
            # A line break within a text is more likely than one before the picture's name.
            unlikely = 1 if splits > self._shape.files else len(costs)
            each = unlikely if sound else unread
            cost = costs[end] + (end - place) * each
            if cost < alone or (cost == alone and not sound):
                return end, cost, ""  # if unsound, it counts as one bad record rather than several
        return place + 1, alone, _BROKEN if how is _End.BROKEN and end == place + 1 else _OPENED

    def _swallows(self, place: int, end: int, splits: int) -> bool:
        """Whether this record would swallow a later row rather than just its own remaining cells."""
        if splits > self._shape.files:  # this line already names its own picture
            return True
        try:
            return not self._shape.names_a_picture(self._shape.parse(self._lines[place:end]))
        except csv.Error:
            return True

    def _alone(self, line: str) -> tuple[_End, int]:
        """How a record that starts with this line ends, and how many delimiters split the line."""
        if '"' not in line:
            return _End.CLOSED, line.count(self._shape.delimiter)
        return self._scan(line, quoted=False)

    def _inside(self, place: int, runs: tuple[_End, int, int]) -> tuple[_End, int, int]:
        """How a quoted cell that runs into this line ends: the kind of end, the line after it, the delimiters before it."""
        line = self._lines[place]
        if '"' not in line:
            return runs
        how, splits = self._scan(line, quoted=True)
        if how is _End.OPEN:
            return runs[0], runs[1], runs[2] + splits
        return how, place + 1, splits

    def _is_row(self, line: str, how: _End, splits: int) -> bool:
        """Whether this line is clearly a row, or the start of one: it has a picture's name in the right column."""
        shape = self._shape
        if not (shape.fits(splits + 1) if how is _End.CLOSED else splits > shape.files):
            return False
        try:
            return shape.names_a_picture(next(csv.reader([line], delimiter=shape.delimiter)))
        except csv.Error:
            return False

    def _scan(self, line: str, *, quoted: bool) -> tuple[_End, int]:
        """Scan the cells of a line as ``csv`` does."""
        delimiter, body, place, splits = self._shape.delimiter, line.rstrip("\r\n"), 0, 0
        while True:
            if quoted or body.startswith('"', place):
                place = _closing(body, place if quoted else place + 1)
                if place < 0:
                    return _End.OPEN, splits
                if place < len(body) and body[place] != delimiter:
                    return _End.BROKEN, splits
                quoted = False
            else:
                found = body.find(delimiter, place)
                place = len(body) if found < 0 else found
            if place >= len(body):
                return _End.CLOSED, splits
            place, splits = place + 1, splits + 1


def _closing(body: str, place: int) -> int:
    """The index after the quote that closes a cell, or -1 if none does. Doubled quotes are text."""
    while (place := body.find('"', place)) >= 0:
        if not body.startswith('"', place + 1):
            return place + 1
        place += 2
    return -1

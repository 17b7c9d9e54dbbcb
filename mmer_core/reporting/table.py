"""A table of finished text."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from mmer_core.record import Interval
from mmer_core.reporting.estimates import MISSING, Estimate, number


@dataclass(frozen=True)
class Cell:
    """A figure and, smaller beside it, its interval."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Whisker:
    """An interval drawn in a row, in percent of the row's scale."""

    family: str
    low: float
    value: float
    high: float


@dataclass(frozen=True)
class Row:
    """A row: its heading, a hint below the heading, and its cells; ``whiskers`` draw the same figures."""

    head: str
    cells: tuple[Cell, ...]
    hint: str = ""
    whiskers: tuple[Whisker, ...] = ()
    baseline: float | None = None
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A table: ``columns`` includes the heading of the row headings; ``groups`` spans columns: (name, width)."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    groups: tuple[tuple[str, int], ...] = ()
    drawn: bool = False

    def texts(self) -> list[tuple[str, ...]]:
        """The rows without their hints, an interval in brackets."""
        return [
            (row.head, *(f"{one.text} ({one.note})" if one.note else one.text for one in row.cells))
            for row in self.rows
        ]

    @property
    def starts(self) -> frozenset[int]:
        """Columns at which a named group begins."""
        ends = list(accumulate(width for _, width in self.groups))
        return frozenset(end - width for end, (name, width) in zip(ends, self.groups, strict=True) if name)


def cell(raw: Interval | float | None, digits: int = 1) -> Cell:
    """An estimate as a cell."""
    estimate = Estimate.of(raw)
    return Cell(number(estimate.value, digits), estimate.interval(digits)) if estimate else Cell(MISSING)


def plain(caption: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    """A table of ready texts."""
    return Table(caption, columns, tuple(Row(row[0], tuple(map(Cell, row[1:]))) for row in rows))

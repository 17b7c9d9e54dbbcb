"""Printing tables, and progress bars of plain runs; what comes from data is escaped."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.output import say
from mmer_core import bars
from mmer_core.escaping import one_line
from mmer_core.progress import silent
from tasks.progress import show_in_terminal

_UNCUT = 10_000
_KEY = re.compile(r"[a-z-]+/[0-9a-f]{32}$")
SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def progress_bars(quiet: bool = False) -> Iterator[None]:
    """Show a bar on standard error for every piece of work that reports progress.

    If standard error is not a terminal, each piece of work prints a line every half minute, and one when it is done.
    """
    if quiet:
        show_in_terminal(lambda label: silent)
        yield
        return
    with bars.progress_bars(Lines) as bar:
        show_in_terminal(bar)
        try:
            yield
        finally:
            show_in_terminal(lambda label: silent)


def say_table(columns: Iterable[object], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, as wide as the terminal; in a pipe or a file it is never cut or folded.

    A column of keys is never folded, so that they can be copied.
    """
    # As Text, because brackets in names and captions are not markup.
    table = Table(box=None)
    cells = [[one_line(cell) for cell in row] for row in rows]
    for place, column in enumerate(columns):
        keys = any(_KEY.match(row[place]) for row in cells)
        table.add_column(Text(one_line(column)), no_wrap=keys, overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    console = Console()
    (console if console.is_terminal else Console(width=_UNCUT)).print(table)


class Lines:
    """Progress as lines, for a pipe or a log file.

    Args:
        clock: Seconds from any start.
    """

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._label, self._clock = label, clock
        self._begun: tuple[int, float] | None = None
        self._last = clock()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = self._clock()
        # What a killed run had done takes this one no time.
        before, start = self._begun = self._begun or (done, now)
        text = f"{self._label}: {done} of {total}"
        if done == total:
            say(f"{text} {note}".rstrip(), error=True)
        elif now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            if done > before:
                rate = (done - before) / (now - start)
                left = timedelta(seconds=round((total - done) / rate))
                text += f", {bars.per_second(rate)}, {left} left"
            say(f"{text} {note}".rstrip(), error=True)

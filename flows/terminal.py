"""Printing tables, and progress bars of plain runs; what comes from data is escaped."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from flows.output import say
from mmer_core.escaping import one_line
from mmer_core.progress import Progress as Report
from mmer_core.progress import silent
from tasks.progress import show_in_terminal

_UNCUT = 10_000
SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def progress_bars(quiet: bool = False) -> Iterator[None]:
    """Show a bar on standard error for every piece of work that reports progress.

    If standard error is not a terminal, each piece of work prints a line every half minute, and one when it is done.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        show_in_terminal((lambda label: silent) if quiet else Lines)
        yield
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console) as bars:

        def bar(label: str) -> Report:
            row = bars.add_task(one_line(label), total=None, note="")

            def report(done: int, total: int, note: str = "") -> None:
                bars.update(row, completed=done, total=total, note=one_line(note))

            return report

        show_in_terminal(bar)
        try:
            yield
        finally:
            show_in_terminal(lambda label: silent)


def say_table(columns: Iterable[object], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, as wide as the terminal; in a pipe or a file it is never cut or folded."""
    # As Text, because brackets in names and captions are not markup.
    table = Table(box=None)
    for column in columns:
        table.add_column(Text(one_line(column)))
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    console = Console()
    (console if console.is_terminal else Console(width=_UNCUT)).print(table)


class _Rate(ProgressColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        return Text(_rate(task.speed) if task.speed else "")


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
                text += f", {_rate(rate)}, {left} left"
            say(f"{text} {note}".rstrip(), error=True)


def _rate(units: float) -> str:
    """Units a second, or a minute where those are few."""
    return f"{units:.3g}/s" if units >= 1 else f"{60 * units:.3g}/min"

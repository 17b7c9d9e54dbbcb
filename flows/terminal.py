"""Printing tables, and progress bars of plain runs; what comes from data is escaped."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.output import say
from mmer_core import bars
from mmer_core.escaping import one_line
from mmer_core.progress import Progress, silent
from tasks.progress import show_in_terminal

_UNCUT = 10_000


@contextmanager
def progress_bars() -> Iterator[None]:
    """Show a bar on standard error for every piece of work that reports progress.

    If standard error is not a terminal, each piece of work prints one line when it is done.
    """
    with bars.progress_bars(_line_when_done) as bar:
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


def _line_when_done(label: str) -> Progress:
    def report(done: int, total: int, note: str = "") -> None:
        if done == total:
            say(f"{label}: {done} of {total} {note}".rstrip(), error=True)

    return report

"""Printing tables, and progress bars of plain runs; what comes from data is escaped."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.output import say
from mmer_core import bars, log
from mmer_core.escaping import one_line
from mmer_core.progress import Lines, silent
from tasks.progress import log_lines, show_in_terminal

_UNCUT = 10_000
_KEY = re.compile(r"[a-z-]+/[0-9a-f]{32}$")


@contextmanager
def progress_bars(quiet: bool = False) -> Iterator[None]:
    """Show a bar on standard error for every piece of work that reports progress.

    If standard error is not a terminal, each piece of work prints a line now and then, and one when it is done. With
    MMER_LOG the lines are in the log.
    """
    with ExitStack() as stack:
        stack.callback(show_in_terminal, lambda label: silent)
        if log.requested_format() and not quiet:
            show_in_terminal(log_lines)
        elif not quiet:
            show_in_terminal(stack.enter_context(bars.progress_bars(partial(Lines, write=_say))))
        yield


def _say(line: str, **figures: float) -> None:
    say(line, error=True)


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

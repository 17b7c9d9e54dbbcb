"""Progress bars for plain runs in a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mmer_core.progress import Progress as Report
from mmer_core.progress import silent
from tasks.progress import show_in_terminal

_UNCUT = 10_000


@contextmanager
def progress_bars() -> Iterator[None]:
    """Show a bar on standard error for every piece of work that reports progress.

    Where standard error is no terminal, each piece of work leaves one line when it is done.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        show_in_terminal(_line_when_done)
        yield
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bars:

        def bar(label: str) -> Report:
            row = bars.add_task(label, total=None, note="")

            def report(done: int, total: int, note: str = "") -> None:
                bars.update(row, completed=done, total=total, note=note)

            return report

        show_in_terminal(bar)
        try:
            yield
        finally:
            show_in_terminal(lambda label: silent)


def tables() -> Console:
    """Standard output for tables: as wide as the terminal, and never cut or folded in a pipe or a file."""
    console = Console()
    return console if console.is_terminal else Console(width=_UNCUT)


def _line_when_done(label: str) -> Report:
    def report(done: int, total: int, note: str = "") -> None:
        if done == total:
            print(f"{label}: {done} of {total} {note}".rstrip(), file=sys.stderr, flush=True)

    return report

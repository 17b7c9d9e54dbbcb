"""All that commands print: lines, tables, JSON and progress bars, with what comes from data escaped.

No other module of the command line prints (`ruff` sees to that), so nothing that stands in a caption, a label or a file's
name can move the cursor, colour the screen, start a line or pass for markup.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from mmer_core.escaping import ascii_json, one_line, visible
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
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
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


def say(*lines: object, error: bool = False) -> None:
    """Print lines, on standard output or on standard error."""
    for line in lines:
        print(one_line(line), file=sys.stderr if error else sys.stdout, flush=True)


def say_text(text: str) -> None:
    """Print a text of several lines, whose parts are escaped for its own format already."""
    print(visible(text).removesuffix("\n"))


def say_json(value: Any) -> None:
    """Print JSON, exact and in ASCII."""
    print(ascii_json(value, indent=2))


def say_table(columns: Iterable[object], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: as wide as the terminal, and never cut or folded in a pipe or a file."""
    # As Text, because brackets in names and captions are no markup.
    table = Table(box=None)
    for column in columns:
        table.add_column(Text(one_line(column)))
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    console = Console()
    (console if console.is_terminal else Console(width=_UNCUT)).print(table)


def _line_when_done(label: str) -> Report:
    def report(done: int, total: int, note: str = "") -> None:
        if done == total:
            say(f"{label}: {done} of {total} {note}".rstrip(), error=True)

    return report

"""Progress bars with the time left, at a terminal and in a notebook."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from mmer_core.escaping import one_line
from mmer_core.progress import Progress, per_second


@contextmanager
def progress_bars(otherwise: Callable[[str], Progress]) -> Iterator[Callable[[str], Progress]]:
    """What makes a bar for each piece of work, by its label; bars show on standard error.

    Args:
        otherwise: What reports progress where nobody sees a bar: standard error is neither a terminal nor a notebook's.
    """
    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        yield otherwise
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
    with Bars(*columns, console=console) as bars:

        def bar(label: str) -> Progress:
            row = bars.add_task(one_line(label), total=None, note="")

            def report(done: float, total: int, note: str = "") -> None:
                bars.update(row, completed=done, total=total, note=one_line(note))

            return report

        yield bar


class _Rate(ProgressColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        return Text(per_second(task.speed) if task.speed else "")

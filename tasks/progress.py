"""Where progress goes: bars in a terminal, lines in a log, progress artifacts in the Prefect UI."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from mmer_core.escaping import for_markdown
from mmer_core.log import event
from mmer_core.progress import Lines, Progress, both, silent

_SECONDS_BETWEEN_UPDATES = 2.0
_terminal: Callable[[str], Progress] = lambda label: silent  # noqa: E731


def show_in_terminal(bars: Callable[[str], Progress]) -> None:
    """Let plain runs report to ``bars(label)``; the command line sets this."""
    global _terminal
    _terminal = bars


def progress_for(label: str, *, quiet: bool = False) -> Progress:
    """A progress callback for one piece of work, for wherever this code runs.

    Args:
        quiet: Print and log nothing; the UI of Prefect shows it all the same.
    """
    if not in_run():
        return silent if quiet else _terminal(label)
    artifact = _ProgressArtifact(label)
    return artifact if quiet else both(artifact, log_lines(label))


def log_lines(label: str) -> Progress:
    """Progress as lines in the log; that something is done the log says by itself."""
    return Lines(label, _log)


def _log(line: str, **figures: Any) -> None:
    if figures["done"] < figures["total"]:
        event(line, **figures)


def in_run() -> bool:
    """Whether this code runs inside a Prefect run, of a flow or of a task."""
    if "prefect" not in sys.modules:  # a run has imported it; other commands need not wait for it
        return False
    from prefect.context import FlowRunContext, TaskRunContext

    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


class _ProgressArtifact:
    """A progress bar in the UI, created on the first report and updated every few seconds."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._artifact: UUID | None = None
        self._last = -_SECONDS_BETWEEN_UPDATES
        self._lock = threading.Lock()

    def __call__(self, done: float, total: int, note: str = "") -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        now = time.monotonic()
        with self._lock:
            if done < total and now - self._last < _SECONDS_BETWEEN_UPDATES:
                return
            self._last = now
            percent = 100.0 * done / max(total, 1)
            description = for_markdown(f"{self._label} {note}".strip())
            if self._artifact is None:
                created = create_progress_artifact(percent, description=description)
                self._artifact = created if isinstance(created, UUID) else None
            else:
                update_progress_artifact(self._artifact, percent, description=description)

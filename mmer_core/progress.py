"""How long-running work reports its progress."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

SECONDS_TO_FIRST_LINE = 5.0
SECONDS_BETWEEN_LINES = 20.0


class Progress(Protocol):
    """Called with the number of finished units, the total, and a short note (``"loss 1.23"``).

    A unit may be finished in part: 2.5 of 4.
    """

    def __call__(self, done: float, total: int, note: str = "") -> None: ...


class Write(Protocol):
    """Called with a line, and with its figures."""

    def __call__(self, line: str, **figures: float) -> None: ...


def silent(done: float, total: int, note: str = "") -> None:
    """The default: report nothing."""


def both(one: Progress, other: Progress) -> Progress:
    """Report to two."""

    def report(done: float, total: int, note: str = "") -> None:
        one(done, total, note)
        other(done, total, note)

    return report


class Lines:
    """Progress as lines, for a pipe or a log: soon, now and then, and at the end.

    Args:
        write: Gets each line, with ``done``, ``total``, ``per_second`` and ``seconds_left`` as far as they are known.
        clock: Seconds from any start.
    """

    def __init__(self, label: str, write: Write, clock: Callable[[], float] = time.monotonic) -> None:
        self._label, self._write, self._clock = label, write, clock
        self._begun: tuple[float, float] | None = None
        self._next = clock() + SECONDS_TO_FIRST_LINE

    def __call__(self, done: float, total: int, note: str = "") -> None:
        now = self._clock()
        # What a killed run had done takes this one no time.
        before, start = self._begun = self._begun or (done, now)
        text, figures = f"{self._label}: {done:.10g} of {total}", {"done": done, "total": total}
        if done < total:
            if now < self._next:
                return
            self._next = now + SECONDS_BETWEEN_LINES
            text += f" ({100 * done / total:.0f} %)"
            if done > before:
                rate = (done - before) / (now - start)
                left = (total - done) / rate
                figures |= {"per_second": rate, "seconds_left": left}
                text += f", {per_second(rate)}, {timedelta(seconds=round(left))} left"
        self._write(f"{text} {note}".rstrip(), **figures)


def per_second(units: float) -> str:
    """Units a second, or a minute where those are few."""
    return f"{units:.3g}/s" if units >= 1 else f"{60 * units:.3g}/min"

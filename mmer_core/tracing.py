"""Running networks side by side, and tracing one alone.

To trace a network, as torch.fx and the exporters behind the inference runtimes do, torch replaces methods of every
module of the process for the time being: a network that another thread runs meanwhile fails, or is traced as well.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Gate:
    """Many may run, or one may trace; who waits to trace goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._tracing = False
        self._wanting = 0
        self._own = threading.local()

    @contextmanager
    def running(self) -> Iterator[None]:
        """While this thread runs networks; may be nested, and inside of `tracing`."""
        if self._inside:
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._tracing and not self._wanting)
            self._running += 1
        with self._entered():
            yield

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """While this thread traces a network; not inside of `running`, which would wait for itself."""
        assert not self._inside, "a network is traced while this thread runs one"
        with self._changed:
            self._wanting += 1
            try:
                self._changed.wait_for(lambda: not self._tracing and not self._running)
            finally:  # also when interrupted, or nobody would run any more
                self._wanting -= 1
            self._tracing = True
        with self._entered():
            yield

    @property
    def _inside(self) -> bool:
        return getattr(self._own, "inside", False)

    @contextmanager
    def _entered(self) -> Iterator[None]:
        self._own.inside = True
        try:
            yield
        finally:
            self._own.inside = False
            with self._changed:
                # Who traces is alone, so whoever leaves knows what it did.
                if self._tracing:
                    self._tracing = False
                else:
                    self._running -= 1
                self._changed.notify_all()


_GATE = _Gate()
running, tracing = _GATE.running, _GATE.tracing

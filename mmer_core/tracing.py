"""Running networks concurrently, and tracing one exclusively.

To trace a network, as torch.fx and the exporters of inference runtimes do, torch temporarily patches methods of every
module in the process. A network that another thread runs meanwhile would fail, or be traced as well.

Both compute in exact float32 (`mmer_core.kernels.exact_float32`): whatever mmer computes but training is in it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mmer_core.heavy import torch
from mmer_core.kernels import exact_float32


class _Gate:
    """A lock that many runs or one trace may hold; a waiting trace has priority."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._tracing = False
        self._wanting = 0
        self._own = threading.local()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold the lock while this thread runs networks; may be nested, also inside `tracing`."""
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
        """Hold the lock exclusively while this thread traces; inside `running` it would deadlock.

        Weights that are made meanwhile may be differentiated, also where the thread is in inference mode.
        """
        assert not self._inside, "a network is traced while this thread runs one"
        with self._changed:
            self._wanting += 1
            try:
                self._changed.wait_for(lambda: not self._tracing and not self._running)
            finally:  # also when interrupted, or all other threads would wait forever
                self._wanting -= 1
            self._tracing = True
        with self._entered(), torch.inference_mode(False):
            yield

    @property
    def _inside(self) -> bool:
        return getattr(self._own, "inside", False)

    @contextmanager
    def _entered(self) -> Iterator[None]:
        self._own.inside = True
        try:
            with exact_float32():
                yield
        finally:
            self._own.inside = False
            with self._changed:
                # A trace holds the lock alone, so the thread that leaves knows which kind it held.
                if self._tracing:
                    self._tracing = False
                else:
                    self._running -= 1
                self._changed.notify_all()


_GATE = _Gate()
running, tracing = _GATE.running, _GATE.tracing

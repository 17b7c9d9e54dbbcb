"""Flows and tasks that are plain functions until Prefect runs them, so that other runs need not import it."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property, update_wrapper, wraps
from typing import Any, Generic, ParamSpec, TypeVar

from mmer_core import signals
from tasks.progress import in_run

P = ParamSpec("P")
T = TypeVar("T")


class Orchestrated(Generic[P, T]):
    """A function, and the Prefect flow or task made of it; calling it runs that.

    Attributes:
        fn: The plain function.
        kind: ``flow`` or ``task``.
        options: Of Prefect's decorator of that name.
    """

    def __init__(self, fn: Callable[P, T], kind: str, options: dict[str, Any]) -> None:
        self.fn, self.kind, self.options = fn, kind, options
        update_wrapper(self, fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        made: T = self.prefect(*args, **kwargs)
        return made

    @cached_property
    def prefect(self) -> Any:
        """What Prefect runs."""
        import prefect

        from tasks import logs
        from tasks.failures import explaining

        logs.start()
        fn = explaining(self.fn) if self.kind == "flow" else self.fn
        return getattr(prefect, self.kind)(**self.options)(fn)

    def with_options(self, **options: Any) -> "Orchestrated[P, T]":
        """The same with some of the options changed."""
        return Orchestrated(self.fn, self.kind, {**self.options, **options})


def flow(**options: Any) -> Callable[[Callable[P, T]], Orchestrated[P, T]]:
    """Make a function a flow, with the options of `prefect.flow`; how it ends is counted, and plain runs of it are spans."""
    return lambda fn: Orchestrated(_counted(fn, options.get("name", fn.__name__)), "flow", options)


def _counted(fn: Callable[P, T], job: str) -> Callable[P, T]:
    @wraps(fn)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        start, outcome = time.perf_counter(), "failed"
        # Prefect makes a span of each of its own runs.
        with nullcontext() if in_run() else signals.span(job, job=job):
            try:
                made = fn(*args, **kwargs)
                outcome = "completed"
                return made
            finally:
                signals.add(signals.JOB_RUNS, 1, job=job, outcome=outcome)
                signals.add(signals.JOB_TIME, time.perf_counter() - start, job=job)

    return run


def task(**options: Any) -> Callable[[Callable[P, T]], Orchestrated[P, T]]:
    """Make a function a task, with the options of `prefect.task`."""
    return lambda fn: Orchestrated(fn, "task", options)

"""What stages, stores and jobs did, as metrics and spans of OpenTelemetry.

Its API is used and nothing else, and that only in a process that has loaded OpenTelemetry's SDK, as the launcher
``opentelemetry-instrument`` does: in all others a look into `sys.modules` is the whole cost, and nothing is imported.

Names of runs, samples and artifacts are in spans and never in metrics, where every value makes a series of its own.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")

_METRICS, _TRACES = "opentelemetry.sdk.metrics", "opentelemetry.sdk.trace"
_FLUSH_MILLISECONDS = 2000  # no receiver is worth more
SCOPE = "mmer"
"""Name of what the signals come from, as receivers see it."""


@dataclass(frozen=True)
class Counted:
    """Something that is added up.

    Attributes:
        unit: ``s``, ``By`` or none, as OpenTelemetry writes units.
        attributes: By which it is divided; each has few values.
    """

    name: str
    unit: str
    description: str
    attributes: tuple[str, ...]

    @property
    def in_prometheus(self) -> str:
        """The name that OpenTelemetry's rules give it there."""
        units = {"s": "_seconds", "By": "_bytes", "": ""}
        return f"{self.name.replace('.', '_')}{units[self.unit]}_total"


STAGE_RUNS = Counted(
    "mmer.stage.runs",
    "",
    "Stages by the kind of artifact: made, found in the store, or failed.",
    ("stage", "outcome"),
)
STAGE_TIME = Counted(
    "mmer.stage.time", "s", "Wall time of stages that made something, by leg.", ("stage", "leg")
)
STORE_READ = Counted("mmer.store.read", "By", "Bytes fetched from a store.", ("store",))
STORE_WRITTEN = Counted("mmer.store.written", "By", "Bytes put into a store.", ("store",))
STORE_ERRORS = Counted("mmer.store.errors", "", "Requests to a store that failed for good.", ("store",))
STORE_RETRIES = Counted("mmer.store.retries", "", "Requests to a store that were repeated.", ("store",))
JOB_RUNS = Counted(
    "mmer.job.runs", "", "Jobs, also those that are a part of others, by outcome.", ("job", "outcome")
)
JOB_TIME = Counted("mmer.job.time", "s", "Wall time of jobs.", ("job",))

COUNTED = (STAGE_RUNS, STAGE_TIME, STORE_READ, STORE_WRITTEN, STORE_ERRORS, STORE_RETRIES, JOB_RUNS, JOB_TIME)
"""All there is."""


def add(counted: Counted, amount: float, **attributes: str) -> None:
    """Add to a counter, where metrics are collected."""
    if _METRICS in sys.modules and amount:
        _counter(counted).add(amount, attributes)


@cache
def _counter(counted: Counted) -> Any:
    from opentelemetry import metrics

    return metrics.get_meter(SCOPE).create_counter(counted.name, counted.unit, counted.description)


@contextmanager
def span(name: str, **attributes: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A span of the block, where traces are collected; an exception ends it as failed. Gives what notes more attributes."""
    if _TRACES not in sys.modules:
        yield lambda more: None
        return
    from opentelemetry import trace

    with trace.get_tracer(SCOPE).start_as_current_span(name, attributes=attributes) as current:
        yield current.set_attributes


def carried(work: Callable[..., T]) -> Callable[..., T]:
    """The same work for another process, where its spans belong to the one that is current here."""
    if _TRACES not in sys.modules:
        return work
    from opentelemetry import propagate

    where: dict[str, str] = {}
    propagate.inject(where)
    return _Carried(work, where)


@dataclass(frozen=True)
class _Carried:
    work: Callable[..., Any]
    where: Mapping[str, str]

    def __call__(self, *arguments: Any) -> Any:
        from opentelemetry import context, propagate

        token = context.attach(propagate.extract(self.where))
        try:
            return self.work(*arguments)
        finally:
            context.detach(token)


def flush() -> None:
    """Send what has been collected; at the end of a process OpenTelemetry does so by itself, if it is not ended by others."""
    if _METRICS in sys.modules:
        from opentelemetry import metrics

        _flush(metrics.get_meter_provider())
    if _TRACES in sys.modules:
        from opentelemetry import trace

        _flush(trace.get_tracer_provider())


def _flush(provider: Any) -> None:
    if hasattr(provider, "force_flush"):  # one of the SDK
        provider.force_flush(_FLUSH_MILLISECONDS)

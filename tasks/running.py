"""Calling tasks and flows the same way inside a Prefect run and as plain Python.

A server costs many seconds to start, and a run from the command line that nobody will look up in a UI should
not pay for it: outside a flow run the functions behind tasks and flows are called directly.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any, TypeVar

from mmer_core import signals
from mmer_core.config import RuntimeConfig
from mmer_core.device import select_device
from mmer_core.errors import ConfigError, at
from mmer_core.progress import Progress
from mmer_core.threads import shared_cores
from tasks import logs
from tasks.decorators import Orchestrated
from tasks.engines import open_engine

# Workers of Prefect, Dask and Ray have no command line of ours, only its environment.
with suppress(ConfigError):  # which the command line tells
    logs.start()

GPU = "gpu"
"""Tag of tasks that use one where there is one: `mmer deploy --gpus` limits how many run at a time."""

_SECONDS_BETWEEN_LOOKS = 1.0

T = TypeVar("T")
S = TypeVar("S")


def in_flow() -> bool:
    """Whether this code runs inside a Prefect flow run."""
    if "prefect" not in sys.modules:  # a run has imported it
        return False
    from prefect.context import FlowRunContext

    return FlowRunContext.get() is not None


def call(task: Orchestrated[..., T], runtime: RuntimeConfig, *args: Any) -> T:
    """Run a task here and now, and return its result."""
    return _work(task, runtime, here=True)(runtime, *args)


def call_flow(flow: Orchestrated[..., T], job: Any, name: str | None = None) -> T:
    """Run a flow inside this one (as a subflow, with a name if one is given), or as plain Python.

    Only subflows are named: a run that a person starts keeps the name that it was given in the UI.
    """
    if not in_flow():
        return flow.fn(job)
    # Only whole runs are watched for signs of life. Prefect waits up to a second for each of those that stop.
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        return (flow.with_options(flow_run_name=name) if name else flow)(job)


def _work(task: Orchestrated[..., T], runtime: RuntimeConfig, *, here: bool) -> Callable[..., T]:
    """What runs a task, on this machine or elsewhere: Prefect inside a flow run, and nobody outside."""
    if not in_flow():
        return task.fn
    on_cpu = runtime.device == "cpu" or (here and select_device(runtime.device).type == "cpu")
    # What uses no GPU need not wait for a free one, and asking the server for one takes a while.
    made = task.prefect
    chosen: Callable[..., T] = (
        made.with_options(tags=made.tags - {GPU}) if on_cpu and GPU in made.tags else made
    )
    return chosen


def fan_out_flows(
    flow: Orchestrated[..., T], jobs: Iterable[Any], runtime: RuntimeConfig, progress: Progress
) -> list[T]:
    """Run a flow for every job, as subflows inside a flow run, and return the results in the order of the jobs.

    As many run at a time as ``runtime.workers``, and share the cores. After a failure no more begin, and when all that
    had begun are done, the failure of the first job in order is raised.
    """
    jobs = list(jobs)
    workers = min(runtime.workers, len(jobs))

    def sharing_cores(job: Any) -> T:
        with shared_cores(workers):
            return call_flow(flow, job)

    with _pool(runtime.workers) as pool:
        futures = [pool.submit(copy_context().run, sharing_cores, job) for job in jobs]
        for count, done in enumerate(as_completed(futures), 1):
            if done.exception():
                _raise_first([future for future in futures if not future.cancel()])
            progress(count, len(futures))
        return [future.result() for future in futures]


def fan_out(
    task: Orchestrated[..., T],
    shards: Iterable[S],
    arguments: Callable[[RuntimeConfig, S], tuple[Any, ...]],
    runtime: RuntimeConfig,
    progress: Progress,
    inside: Callable[[Iterable[int]], tuple[float, str]] | None = None,
    more: Callable[[S, T], Iterable[S]] | None = None,
    place: Callable[[S], str] | None = None,
) -> list[T]:
    """Run a task for every shard, several at a time, and return the results in the order of the shards.

    One thread here waits for each running shard, wherever it runs: in a flow run and outside, no more have begun than
    the engine has places for, on this machine ``runtime.workers``. After a failure no more begin, and when all shards
    that had begun are done, the failure of the first in order is raised; what the others published stays.

    Args:
        task: Takes what ``arguments`` returns.
        shards: The units of work.
        arguments: From the runtime of whoever does the work, and a shard, to the task's arguments. They may
            travel to another machine: configurations and keys, nothing large.
        runtime: Which engine, and how many at a time.
        progress: Gets the number of shards that are done, after each of them, and once a second where ``inside`` is given.
        inside: From the numbers of shards that are not done to how much of them is, as a number of shards, and a note.
        more: From a shard that is done and its result to further shards, which come behind all others.
        place: Where a shard is, for the message of an error that does not say so itself.

    Raises:
        ConfigError: The engine's package is not installed.
        EngineError: The engine cannot be reached, or a shard ended every process that took it.
    """
    shards = list(shards)
    if not shards:
        return []
    engine = open_engine(runtime)
    work = _work(task, runtime, here=runtime.address is None)
    if runtime.engine != "threads" and not in_flow():
        work = signals.carried(work)
    results: dict[int, T] = {}
    running: dict[Future[T], int] = {}
    begun = 0

    def run(shard: S, *given: Any) -> T:
        with at(lambda: place(shard) if place else ""):
            done: T = engine.run(work, *given)
            return done

    with _pool(sys.maxsize if runtime.address else runtime.workers) as pool:
        while len(results) < len(shards):
            for shard in shards[begun : begun + max(0, engine.places - len(running))]:
                # Prefect knows by the context which run a task belongs to.
                given = arguments(engine.runtime, shard)
                running[pool.submit(copy_context().run, run, shard, *given)] = begun
                begun += 1
            done, _ = wait(running, _SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
            if any(future.exception() for future in done):
                _raise_first(running)
            finished = {running.pop(future): future.result() for future in done}
            part, note = inside([*running.values()]) if inside else (0.0, "")
            if inside and not finished:
                progress(len(results) + part, len(shards), note=note)
            for number in sorted(finished):
                results[number] = finished[number]
                shards += more(shards[number], finished[number]) if more else ()
                progress(len(results) + part, len(shards), note=note)
    return [results[number] for number in range(len(shards))]


def _raise_first(futures: Iterable[Future[Any]]) -> None:
    """Raise the first failure in the order given, and wait for those before it; an interruption at once.

    Work begins in this order, so the error is the same in every run, whichever worker was quicker.
    """
    futures = list(futures)
    for ended in (future.exception() for future in futures if future.done()):
        if ended and not isinstance(ended, Exception):
            raise ended
    for future in futures:
        future.result()


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that are waited for, also after a failure; after an interruption nobody wants what they do any more."""
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        yield pool
    except BaseException as error:
        pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        raise
    pool.shutdown()

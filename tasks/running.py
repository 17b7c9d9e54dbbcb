"""Calling tasks and flows the same way inside a Prefect run and as plain Python.

A server costs many seconds to start, and a run from the command line that nobody will look up in a UI should
not pay for it: outside a flow run the functions behind tasks and flows are called directly.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

from prefect import Flow, Task
from prefect.context import FlowRunContext
from prefect.task_runners import ThreadPoolTaskRunner

from mmer_core.progress import Progress

T = TypeVar("T")
S = TypeVar("S")


def in_flow() -> bool:
    """Whether this code runs inside a Prefect flow run."""
    return FlowRunContext.get() is not None


def call(task: Task[..., T], *args: Any) -> T:
    """Run a task here and now, and return its result."""
    return task(*args) if in_flow() else task.fn(*args)


def call_flow(flow: Flow[..., T], job: Any) -> T:
    """Run a flow inside this one (as a subflow), or as plain Python."""
    return with_workers(flow, job.runtime.workers)(job) if in_flow() else flow.fn(job)


def with_workers(flow: Flow[..., T], workers: int) -> Flow[..., T]:
    """The flow with so many threads for what it submits; one model in memory serves them all."""
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=workers)
    return flow.with_options(task_runner=runner)  # type: ignore[arg-type]


def fan_out(
    task: Task[..., T],
    shards: Iterable[S],
    arguments: Callable[[S], tuple[Any, ...]],
    workers: int,
    progress: Progress,
) -> list[T]:
    """Run a task for every shard, several at a time, and return the results in the order of the shards.

    The first failure is raised when all shards that had begun are done; what they published stays.
    """
    shards = list(shards)
    if in_flow():
        futures: list[Any] = [task.submit(*arguments(shard)) for shard in shards]
        return _collect(futures, futures, progress)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(task.fn, *arguments(shard)) for shard in shards]
        try:
            return _collect(futures, as_completed(futures), progress)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _collect(futures: list[Any], finished: Iterable[Any], progress: Progress) -> list[Any]:
    for done, future in enumerate(finished, start=1):
        future.result()
        progress(done, len(futures))
    return [future.result() for future in futures]

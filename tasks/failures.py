"""What the page of a failed run says: what went wrong, at which sample, and the command that tries again.

Prefect shows the message of the error that ended a run. So the errors that leave tasks and flows have it all in there.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import ParamSpec, TypeVar

from mmer_core.errors import MmerError, StoreError, UnexpectedError, add_place
from tasks.progress import in_run

P = ParamSpec("P")
T = TypeVar("T")

_FLOWS = "flows.deployed"
"""Where Prefect finds the flow of a run that no deployment was asked for."""


@contextmanager
def explained(place: Callable[[bool], str] | None = None) -> Iterator[None]:
    """Errors of a task or a flow say where they happened and, in a Prefect run, which command tries again.

    In a Prefect run what is no `MmerError` becomes an `UnexpectedError`, because its own message has neither place nor command.

    Args:
        place: Where this is, in words; asked whether to name the samples, which the error may know better.
    """
    try:
        yield
    except Exception as error:
        if place:
            with suppress(Exception):  # the file that names the samples may be the damaged one
                add_place(error, place(not getattr(error, "__notes__", None)))
        if not in_run():
            raise
        raised = error if isinstance(error, MmerError) else UnexpectedError.of(error)
        if raised.again is None and _is_last(error):
            raised.again = _again()
        if not _in_task():
            _leave(raised)
        if raised is error:
            raise
        raise raised from error


def explaining(function: Callable[P, T]) -> Callable[P, T]:
    """A function whose errors are `explained`."""

    # What a decorator of contextlib makes of it holds a generator, which no engine can send to another process.
    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with explained():
            return function(*args, **kwargs)

    return run


def _in_task() -> bool:
    from prefect.context import TaskRunContext

    return TaskRunContext.get() is not None


def _is_last(error: Exception) -> bool:
    """Whether no further attempt of the same task follows, as one does where a store failed."""
    from prefect.context import TaskRunContext

    here = TaskRunContext.get()
    return here is None or not isinstance(error, StoreError) or here.task_run.run_count > here.task.retries


def _again() -> str | None:
    """The command that tries the outermost run again; None where its server does not answer."""
    from prefect.client.orchestration import get_client
    from prefect.runtime import flow_run

    with suppress(Exception), get_client(sync_client=True) as client:
        run = client.read_flow_run(flow_run.root_flow_run_id)
        command = f"prefect flow-run retry {run.id}"
        if run.deployment_id:
            return command
        flow = client.read_flow(run.flow_id)
        return f"{command} --entrypoint {_FLOWS}.{flow.name.replace('-', '_')}"
    return None


def _leave(error: MmerError) -> None:
    """Leave a note with the flow run that the error ends: of several shards that fail, it is the one that the message names."""
    from tasks.artifacts import leave_failure

    with suppress(Exception):  # a note that cannot be left hides no error
        leave_failure(error)

"""The command of each job, made from `flows.job_table` when it is asked for: ``flows.job_commands:train``."""

import os
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Parameter

from flows.job_table import JOBS, Job, load
from flows.parameters import Flat, flatten
from mmer_core import log

Prefect = Annotated[
    bool | None,
    Parameter(help="Run as a Prefect flow; by default where PREFECT_API_URL is set, else as plain Python."),
]


def __getattr__(name: str) -> Callable[..., None]:
    """The command of that name."""
    for job in JOBS:
        if job.name == name:
            return _command(job)
    raise AttributeError(name)


def _command(entry: Job) -> Callable[..., None]:
    repeated = next((one for one in JOBS if one.repeats == entry.name), None)
    config = load((repeated or entry).config)
    flatten(config)

    def command(job: Any = config(), *, prefect: Prefect = None) -> None:
        chosen = repeated if repeated and job.seeds > 1 else entry
        made = _run(load(chosen.flow), job, prefect)
        from mmer_core.stages import Context

        load(chosen.show)(Context(job.runtime), made)

    command.__annotations__["job"] = Annotated[config, Flat]
    return command


def _run(flow: Any, job: Any, prefect: bool | None) -> Any:
    """Run a flow as plain Python with progress bars, or through Prefect."""
    if prefect if prefect is not None else bool(os.environ.get("PREFECT_API_URL")):
        return flow(job)
    if log.requested_format():
        return flow.fn(job)
    from flows.terminal import progress_bars

    with progress_bars():
        return flow.fn(job)

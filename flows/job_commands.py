"""The command of each job, made from `flows.job_table` when it is asked for: ``flows.job_commands:train``."""

import os
from typing import Annotated, Any

from cyclopts import App, ArgumentCollection, Parameter

from flows.job_table import JOBS, Job, load
from flows.parameters import Flat, flatten
from mmer_core import log

Prefect = Annotated[
    bool | None,
    Parameter(help="Run as a Prefect flow; by default where PREFECT_API_URL is set, else as plain Python."),
]


class _Command(App):
    """A command whose parameters are described by their fields alone.

    Otherwise the parser looks for descriptions in the source of every class, which takes longer than all else.
    """

    def assemble_argument_collection(self, **options: Any) -> ArgumentCollection:
        return super().assemble_argument_collection(**options | {"parse_docstring": False})


def __getattr__(name: str) -> App:
    """The command of that name."""
    for job in JOBS:
        if job.name == name:
            return _command(job)
    raise AttributeError(name)


def _command(entry: Job) -> App:
    repeated = next((one for one in JOBS if one.repeats == entry.name), None)
    config = load((repeated or entry).config)
    flatten(config)

    def command(job: Any = config(), *, prefect: Prefect = None) -> None:
        chosen = repeated if repeated and job.seeds > 1 else entry
        made = _run(load(chosen.flow), job, prefect)
        from mmer_core.stages import Context

        load(chosen.show)(Context(job.runtime), made)

    command.__annotations__["job"] = Annotated[config, Flat]
    app = _Command(entry.name)
    app.default(command)
    return app


def _run(flow: Any, job: Any, prefect: bool | None) -> Any:
    """Run a flow as plain Python with progress bars, or through Prefect."""
    from tasks import logs

    logs.start()
    if prefect if prefect is not None else bool(os.environ.get("PREFECT_API_URL")):
        return flow(job)
    if log.requested_format():
        return flow.fn(job)
    from flows.terminal import progress_bars

    with progress_bars():
        return flow.fn(job)

"""The command of each job, made from `flows.job_table` when it is asked for: ``flows.job_commands:train``."""

import os
from typing import Annotated, Any

from cyclopts import App, ArgumentCollection, Parameter
from cyclopts.exceptions import CycloptsError

from flows import commands
from flows.configurations import FLAG, configuration_source
from flows.empty_paths import refuse_empty_paths
from flows.job_table import JOBS, Job, load
from flows.parameters import Flat, arrange
from mmer_core.errors import ConfigError

Prefect = Annotated[
    bool | None,
    Parameter(help="Run as a Prefect flow; by default where PREFECT_API_URL is set, else as plain Python."),
]

HelpAll = Annotated[bool, Parameter(help="Describe all options, by topic.", negative="", show_default=False)]


class _Command(App):
    """A command whose help describes what people use most.

    Parameters are described by their fields alone: otherwise the parser looks for descriptions in the source of every
    class, which takes longer than all else.
    """

    usual: frozenset[str] = frozenset()
    """Flags that its help shows."""
    of_other_formats: frozenset[str] = frozenset()
    """Flags of dataset formats that are not chosen."""

    def assemble_argument_collection(self, **options: Any) -> ArgumentCollection:
        found = super().assemble_argument_collection(**options | {"parse_docstring": False})
        for argument in found if options.get("parse_docstring") else ():  # the help asks for it
            argument.index = None  # no second name for values that may be given without their flag
            names = frozenset(argument.names)
            if names & self.of_other_formats or (commands.short_help and not names & self.usual):
                argument.parameter = Parameter.combine(argument.parameter, Parameter(show=False))
        return found

    def describe_all(self, but: frozenset[str]) -> None:
        """Print the help of all flags but some."""
        self.of_other_formats = but
        try:
            commands.app.help_print(list(self.name))
        finally:
            self.of_other_formats = frozenset()


def __getattr__(name: str) -> App:
    """The command of that name."""
    for job in JOBS:
        if job.name == name:
            return _command(job)
    raise AttributeError(name)


def _command(entry: Job) -> App:
    repeated = next((one for one in JOBS if one.repeats == entry.name), None)
    config = load((repeated or entry).config)
    arrange(config)

    def command(job: Any = config(), *, prefect: Prefect = None, help_all: HelpAll = False) -> None:
        if help_all:
            app.describe_all(_of_other_formats(job))
            return
        chosen = repeated if repeated and job.several else entry
        made = run_flow(load(chosen.flow), job, prefect)
        from mmer_core.stages import Context

        load(chosen.show)(Context(job.runtime), made)

    command.__annotations__["job"] = Annotated[config, Flat]
    about = f"For example:  {entry.example}\n\nAll options, by topic: mmer {entry.name} --help-all\n"
    app = _Command(entry.name, usage=f"Usage: mmer {entry.name} [OPTIONS]", help_epilogue=about)
    app.usual = frozenset(f"--{flag}" for flag in (*entry.usual, "help-all"))
    app.default(command)
    return app


def read_job(name: str, file: str) -> Any:
    """The configuration of a job in a file, as ``--config`` of its command reads it.

    Raises:
        ConfigError: The file is missing, not readable, or has fields or values that the job does not take.
    """
    rest, sources = configuration_source([FLAG, file])
    app = _command(next(job for job in JOBS if job.name == name))
    app.config = [*sources, refuse_empty_paths]
    try:
        _, bound, _ = app.parse_args(rest, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise ConfigError(f"{file}: {commands.sentence(error)}") from None
    return bound.arguments["job"]


def _of_other_formats(job: Any) -> frozenset[str]:
    """Flags that belong to other dataset formats than the job's."""
    from mmer_core.datasets.formats import FORMATS

    own = getattr(getattr(job, "dataset", None), "format", None)
    if own is None:
        return frozenset()
    names = {name for each in FORMATS.values() for name in each.Options.model_fields}
    return frozenset(f"--{name}".replace("_", "-") for name in names - {*type(own).Options.model_fields})


def run_flow(flow: Any, job: Any, prefect: bool | None) -> Any:
    """Run a flow as plain Python with progress bars, or through Prefect."""
    from mmer_core.device import select_device
    from tasks import logs

    logs.start()
    if job.runtime.address is None and job.runtime.device not in ("auto", "cpu"):
        select_device(job.runtime.device)  # raises before any work that needs no device
    if prefect if prefect is not None else bool(os.environ.get("PREFECT_API_URL")):
        return flow(job)
    from flows.terminal import progress_bars

    with progress_bars(job.runtime.quiet):
        return flow.fn(job)

"""Jobs from Python: ``run`` takes the configuration of any job and returns what opens everything it made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flows.job_commands import run_flow
from flows.job_table import JOBS, load
from mmer_core.config import Config
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.errors import ConfigError
from mmer_core.facade.loading import Model
from mmer_core.facade.showing import tables_html
from mmer_core.querying import Searcher
from mmer_core.reporting.table import plain
from mmer_core.stages import Context
from mmer_core.stages.evaluate import load_evaluation
from mmer_core.stages.robustness import load_outcomes
from mmer_core.store import Artifact, ArtifactKey

_OPENED: dict[str, Callable[[Context, Artifact], Any]] = {
    "prepared": lambda _, made: Prepared.open(made.folder),
    "features": lambda _, made: Features(made.folder),
    "evaluation": lambda _, made: load_evaluation(made.folder),
    "robustness": lambda _, made: load_outcomes(made.folder),
    "index": lambda context, made: Searcher.open(context, str(made.key)),
    "model": lambda context, made: Model.open(context, made.manifest),
}
"""What opens an artifact, by its kind; others are folders, or the page in it."""


@dataclass(frozen=True)
class Made:
    """What a job made, or found in the store. A notebook shows it as a table.

    Attributes:
        context: Store and device.
        artifacts: By what they are: ``model``, ``evaluation``; with a number behind where there are several, ``model 1``.
    """

    context: Context
    artifacts: Mapping[str, Artifact]

    def open(self, what: str | None = None) -> Any:
        """Open one of the artifacts.

        Args:
            what: Which of them; not needed where there is one.

        Returns:
            A model as `mmer_core.load` gives it; the `EvaluationRecord` of an evaluation; the table of a robustness run's
            outcomes; a `Prepared`, `Features` or `Searcher`; the path of the page of a report or a card; of all else
            the folder.

        Raises:
            ConfigError: There is no such thing among them.
        """
        names = list(self.artifacts)
        chosen = what or (names[0] if len(names) == 1 else "")
        if chosen not in names:
            raise ConfigError(f"there is no {what or 'single artifact'}; open one of {', '.join(names)}")
        made = self.artifacts[chosen]
        if opened := _OPENED.get(made.key.kind):
            return opened(self.context, made)
        return next(iter(sorted(made.folder.glob("*.html"))), made.folder)

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {made.key}" for name, made in self.artifacts.items())

    def _repr_html_(self) -> str:
        rows = [
            (name, str(made.key), made.manifest.created[:16], f"{made.manifest.wall_seconds:.1f} s")
            for name, made in self.artifacts.items()
        ]
        return tables_html([plain("Made", ("", "artifact", "made", "took"), rows)])


def run(job: Config) -> Made:
    """Run a job as its command does: what is in the store already is found and not made again.

    As a Prefect flow where ``PREFECT_API_URL`` is set, else as plain Python, with progress bars at a terminal and in a
    notebook.

    >>> from flows.run import run
    >>> made = run(job)  # a TrainJob
    >>> made.open("model").task
    'retrieval'
    >>> made.open("evaluation").split
    'test'

    Args:
        job: The configuration: `TrainJob`, `RobustnessJob`, `PipelineJob`, …; `mmer JOB --help-all` describes the fields of
            each.

    Raises:
        ConfigError: It is the configuration of no job.
        MmerError: The job failed.
    """
    entry = next((one for one in JOBS if load(one.config) is type(job)), None)
    if entry is None:
        raise ConfigError(
            f"{type(job).__name__} is the configuration of no job; give one of "
            + ", ".join(one.config.rpartition(":")[2] for one in JOBS)
        )
    result = run_flow(load(entry.flow), job, None)
    runtime: Any = getattr(job, "runtime", None)
    context = Context(runtime)
    found = {
        name: Artifact.open(context.store, ArtifactKey.parse(key)) for name, key in _named(result).items()
    }
    return Made(context, found)


def _named(result: Any) -> dict[str, str]:
    """Keys by what they are, of what a flow returned: a key, a tuple of named keys, or a list of either."""
    if isinstance(result, str):
        return {ArtifactKey.parse(result).kind: result}
    if isinstance(result, list):
        return {
            f"{name} {number}": key for number, one in enumerate(result) for name, key in _named(one).items()
        }
    return dict(result._asdict())

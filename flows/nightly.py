"""The job `nightly`: has the study moved since the night before?"""

import logging
from collections.abc import Iterator
from typing import NamedTuple

from flows.jobs import evaluate, pipeline
from flows.output import say
from flows.results import print_report
from flows.terminal import say_table
from mmer_core import stages
from mmer_core.config import EvaluateJob, NightlyJob
from mmer_core.errors import ConfigError
from mmer_core.log import event
from mmer_core.reporting.comparison_table import differences
from mmer_core.stages import Context
from mmer_core.stages.night import NightSummary, last_night, to_measure_again
from mmer_core.stages.report import COMPARISONS_FILE
from mmer_core.statistics.comparison import Comparisons
from mmer_core.store import ArtifactKey
from tasks.decorators import flow
from tasks.notices import emit
from tasks.running import call_flow
from tasks.stages import make


class Night(NamedTuple):
    """Keys of a night's report, and of its comparison with the night before."""

    report: str
    night: str


@flow(name="nightly")
def nightly(job: NightlyJob) -> Night:
    """The whole study, compared with that of the last night that was completed; a notice where a figure moved."""
    context = Context(job.runtime)
    report = ArtifactKey.parse(call_flow(pipeline, job.study(), f"study of {job.series}"))
    found = last_night(context.store, job.series)
    before = found.key if found else None
    again = dict(_measured_again(job, report, before)) if before else {}
    night = make(stages.night, job.runtime, job.report, job.series, report, before, again)
    _report(context.store.manifest(night).summary_as(NightSummary), night)
    return Night(str(report), str(night))


def _measured_again(
    job: NightlyJob, report: ArtifactKey, before: ArtifactKey
) -> Iterator[tuple[str, ArtifactKey]]:
    """The models of the night before, on tonight's samples where those are others."""
    for pair in to_measure_again(Context(job.runtime), report, before):
        for place, one in enumerate(pair.before):
            wanted = EvaluateJob(
                model=str(one.model),
                prepared=str(pair.tonight[0].prepared),
                evaluation=job.evaluation,
                runtime=job.runtime,
            )
            try:
                measured = call_flow(evaluate, wanted, f"measure {pair.name} of the night before")
            except ConfigError as error:  # then it is not compared, which the night says
                event(f"{pair.name} of the night before: {error}", level=logging.WARNING)
            else:
                yield f"{pair.name} {place}", ArtifactKey.parse(measured)


def _report(found: NightSummary, night: ArtifactKey) -> None:
    """The log has everything that a night found; Prefect gets events, which the automations of a server follow."""
    for sentence in found.said:
        event(sentence, artifact=str(night))
    for sentence in found.moved:
        event(sentence, level=logging.WARNING, artifact=str(night))
    event(f"{found.series}: {found.sentence}", artifact=str(night))
    payload = {"series": found.series, "night": str(night), "sentence": found.sentence}
    emit("mmer.nightly.completed", f"mmer.series.{found.series}", payload)
    if found.moved:
        emit("mmer.nightly.moved", f"mmer.series.{found.series}", {**payload, "moved": list(found.moved)})


def print_nightly(context: Context, made: Night) -> None:
    """The verdict on every dataset and the path of the report; what moved since the night before, with every difference."""
    print_report(context, made.report)
    artifact = context.artifact(ArtifactKey.parse(made.night))
    found = artifact.manifest.summary_as(NightSummary)
    for name, compared in Comparisons.read(artifact.folder / COMPARISONS_FILE).datasets.items():
        table = differences(name, compared)
        say(f"{table.caption}: tonight less the night before")
        say_table(table.columns, table.texts())
    say(*found.said, *found.moved, f"{found.series}: {found.sentence}", made.night)

"""The job `probe`: how well does logistic regression do on the features that the models read?"""

from flows.jobs import ingest, prepare
from flows.output import say
from flows.terminal import say_table
from mmer_core.config import IngestJob, ProbeJob, TrainJob
from mmer_core.datasets.prepared import DatasetSummary
from mmer_core.reporting.estimates import Estimate, number
from mmer_core.reporting.labels import metric
from mmer_core.stages import Context
from mmer_core.stages.probe import PROBE_FILE, ProbeRecord, check_labelled
from mmer_core.stages.probe import probe as fit_and_measure
from mmer_core.store import ArtifactKey
from tasks.decorators import flow
from tasks.stages import make


@flow(name="probe")
def probe(job: ProbeJob) -> str:
    """Prepare and encode as for training, choose the regularisation on val, fit on train, and measure."""
    tasks = job.dataset.format.tasks
    if not job.prepared and len(tasks) == 1:
        check_labelled(tasks[0], job.dataset.dataset)  # before anything is prepared
    made = job.prepared or ingest.fn(IngestJob(dataset=job.dataset, runtime=job.runtime)).prepared
    summary = Context(job.runtime).store.manifest(ArtifactKey.parse(made)).summary_as(DatasetSummary)
    check_labelled(summary.task, summary.name)
    shared = {
        "prepared": made,
        "encoders": job.encoders,
        "evaluation": job.evaluation,
        "runtime": job.runtime,
    }
    prepared, features = prepare(TrainJob(**shared))
    return str(
        make(fit_and_measure, job.runtime, job.probe, job.evaluation, job.encoders, prepared, features)
    )


def print_probe(context: Context, key: str) -> None:
    """The metrics with their intervals beside chance, what was tried on val, and the key."""
    found = ProbeRecord.read(context.folder(ArtifactKey.parse(key)) / PROBE_FILE)
    measured = found.evaluation
    say(f"linear probe of {found.dataset} on {measured.split}, {measured.n} samples, C = {found.strength:g}")
    rows = []
    for name, interval in measured.metrics.items():
        estimate, digits = Estimate.of(interval), metric(name).digits
        between = estimate.interval(digits) if estimate else ""
        rows.append(
            (name, number(interval.value, digits), between, number(measured.baselines.get(name), digits))
        )
    say_table(("metric", "value", "95 % interval", "no skill"), rows)
    say_table(("C", "mAP on val"), [(f"{one.strength:g}", number(one.map)) for one in found.tried])
    for one in found.tried:
        if one.unconverged:
            say(f"warning: with C = {one.strength:g} {one.unconverged} regressions did not converge")
    say(key)

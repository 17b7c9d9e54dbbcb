"""The job `transfer`: do attacks on one model fool the others, too?"""

from collections.abc import Sequence

from flows.terminal import say_table
from mmer_core import stages
from mmer_core.attacks.record import CurvesSummary
from mmer_core.config import TransferJob
from mmer_core.errors import ConfigError
from mmer_core.reporting.estimates import MISSING, Estimate, number
from mmer_core.stages import Context, newest_models, report_inputs, transfer_pairs
from mmer_core.store import ArtifactKey
from mmer_core.training.record import ModelSummary
from tasks.decorators import flow
from tasks.stages import make


@flow(name="transfer")
def transfer(job: TransferJob) -> list[str]:
    """Show the successful attacks on each model to the others that were attacked with the same criterion."""
    context = Context(job.runtime)
    datasets = report_inputs(context, newest_models(context.store, job.models))
    pairs = [pair for dataset in datasets for pair in transfer_pairs(context, dataset.models)]
    if not pairs:
        raise ConfigError(
            "no two models of one dataset were attacked with the same criterion; run mmer robustness on each first"
        )
    return [str(make(stages.transfer, job.runtime, source, target)) for source, target in pairs]


def print_transfer(context: Context, keys: Sequence[str]) -> None:
    """How many successes on one model fool another, by attack and number of changed pixels."""
    rows = []
    for made in (context.artifact(ArtifactKey.parse(key)).manifest for key in keys):
        source, target = (
            context.store.manifest(ArtifactKey.parse(made.inputs[role])).summary_as(ModelSummary)
            for role in ("source", "target")
        )
        for point in made.summary_as(CurvesSummary).curves:
            success = Estimate.of(point.success)
            figures = (number(success.value), success.interval()) if success else (MISSING, "")
            models = (source.dataset, source.family, target.family)
            rows.append((*models, point.attack, point.pixels, point.n, *figures))
    say_table(
        ("dataset", "attacked", "shown to", "attack", "pixels", "successes", "fooled too %", "95 % interval"),
        rows,
    )

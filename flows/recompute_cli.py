"""`mmer recompute`: the figures of a report, again from what is stored."""

from typing import Annotated

from cyclopts import Parameter

from flows.output import say
from flows.parameters import Runtime
from flows.terminal import say_table
from mmer_core.config import RuntimeConfig
from mmer_core.errors import ArtifactCorrupt, ConfigError
from mmer_core.record import Interval
from mmer_core.reporting.estimates import MISSING, Estimate
from mmer_core.stages import Context, recompute, remake
from mmer_core.store import ArtifactKey

_NAMED = 5
"""Numbers that a message about a result names."""


def recompute_report(
    report: Annotated[
        str, Parameter(help="Key of a report, or a unique prefix of it; `report` for the newest.")
    ] = "report",
    *,
    figure: str = "",
    from_models: bool = False,
    runtime: Runtime = RuntimeConfig(),
) -> None:
    """`mmer recompute`.

    Parameters
    ----------
    figure:
        Print only figures with this in their name, for example "robust accuracy"; all are compared.
    from_models:
        Also evaluate every model again, fit probes, join attacks and show transfers again, and compare every number with
        the stored results. Nothing is trained or attacked again.
    """
    context = Context(runtime)
    key = context.store.find(report)
    if key.kind != "report":
        raise ConfigError(f"{key} is no report; mmer artifacts ls report lists those that are there")
    found = recompute(context, key)
    say_table(
        ("dataset", "model", "figure", "shown", "again", ""),
        [
            (one.dataset, one.model, one.figure, _text(one.shown), _text(one.again), _differs(one.same))
            for one in found
            if figure in one.figure
        ],
    )
    wrong = [f"{one.dataset}, {one.model}, {one.figure}" for one in found if not one.same]
    if wrong:
        raise ArtifactCorrupt(
            f"{len(wrong)} of {len(found)} figures of {key} do not follow from the stored scores and outcomes: "
            f"{'; '.join(wrong)}"
        )
    say(f"all {len(found)} figures of {key} follow from the stored scores and outcomes")
    if from_models:
        _make_again(context, key)


def _make_again(context: Context, report: ArtifactKey) -> None:
    made = []
    for one in remake(context, report):
        made.append(one)
        say(f"{one.key}: {len(one.differing):,} of {one.numbers:,} numbers differ")
    wrong = [f"{one.key}: {', '.join(one.differing[:_NAMED])}" for one in made if one.differing]
    if wrong:
        raise ArtifactCorrupt(
            f"{len(wrong)} of {len(made)} results of {report} came out different when they were made again: "
            f"{'; '.join(wrong)}"
        )
    say(f"all {len(made)} results of {report} came out the same when they were made again")


def _differs(same: bool) -> str:
    return "" if same else "differs"


def _text(figure: Interval | None) -> str:
    estimate = Estimate.of(figure)
    return estimate.sentence("", 3) if estimate else MISSING

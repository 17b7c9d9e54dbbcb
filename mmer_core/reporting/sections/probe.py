"""What logistic regression reads from the features that the models read."""

from collections.abc import Mapping
from typing import Any, Literal

from mmer_core.base_config import Split
from mmer_core.evaluation.comparing import PROBE
from mmer_core.record import Interval, Number, Part, Record
from mmer_core.reporting.comparison_table import difference_cells
from mmer_core.reporting.labels import metric
from mmer_core.reporting.sections.base import Section, filled
from mmer_core.reporting.table import Cell, Row, Table, cell
from mmer_core.reporting.view import DatasetView


class Tried(Part):
    """One value of C: the mAP on val in percent, and how many of its fits stopped before they had converged."""

    strength: float
    map: Number
    unconverged: int


class ProbeSummary(Record):
    """A probe's figures on one split, in percent.

    Attributes:
        encoders: Names of the encoders whose features it reads, by modality.
        strength: The C that was chosen, of those ``tried``.
        metrics: Those of a classifier, without ratings.
        baselines: What no skill scores, by the name of the metric.
    """

    version: Literal[1] = 1
    dataset: str
    split: Split
    n: int
    encoders: dict[str, str]
    strength: float
    tried: tuple[Tried, ...]
    metrics: dict[str, Interval]
    baselines: dict[str, Number]


class Probe(Section):
    """Results of the job `probe`, beside the models that were measured on the same split."""

    name = "probe"
    summary = "Linear probe"
    order = 25
    tasks = ("emotion", "classification")
    results = ("probe",)
    template = """\
<p>Logistic regression on frozen features, fitted on train; its C of {{ strength }} and its thresholds were chosen on val (mAP {{ tried }}). It read {{ encoders }}. Where these are the encoders of the models, their lead over the probe is what training more than a linear layer brought.</p>
{{ table(metrics) }}
{% for one in compared %}{{ table(one) }}{% endfor %}
"""

    def fields(self, dataset: DatasetView, id_: str) -> Mapping[str, Any] | None:
        for found in dataset.found("probe"):
            probe = found.summary_as(ProbeSummary)
            tried = "; ".join(f"C {one.strength:g}: {_percent(one.map)}" for one in probe.tried)
            return {
                "strength": f"{probe.strength:g}",
                "tried": tried,
                "encoders": " and ".join(probe.encoders.values()),
                "metrics": _table(dataset, probe),
                "compared": filled(_compared(dataset)),
            }
        return None


def _compared(dataset: DatasetView) -> Table:
    """The models that read the same features, each less the probe."""
    rows = [
        Row(
            one.first,
            (*difference_cells(one), Cell(f"{one.trainings:,}")),
            hint=f"{one.quantity}; {one.rule}",
        )
        for one in dataset.comparisons
        if one.topic.startswith(PROBE)
    ]
    return Table(
        f"Better than a linear probe on the same features, by {dataset.text.headline_label}?",
        ("Model", "answer", "difference, points", "model, %", "probe, %", "p", "n", "seeds"),
        tuple(rows),
    )


def _percent(value: float | None) -> str:
    return f"{cell(value).text} %"


def _table(dataset: DatasetView, probe: ProbeSummary) -> Table:
    families = [one for one in dataset.families if one.evaluation.split == probe.split]
    rows = []
    headline = dataset.text.headline
    for name in sorted(probe.metrics, key=lambda name: (name != headline, name)):
        shown = metric(name)
        raws = [probe.metrics[name], *(one.evaluation.metrics.get(name) for one in families)]
        cells = [cell(raw, shown.digits) for raw in (*raws, probe.baselines.get(name))]
        rows.append(Row(shown.label, tuple(cells), shown.hint, strong=name == headline))
    heads = (f"{one.family} model" for one in families)
    caption = f"Linear probe on {probe.split}, {probe.n:,} {dataset.text.samples}, in %"
    return Table(caption, ("Metric", "linear probe", *heads, "chance"), tuple(rows))

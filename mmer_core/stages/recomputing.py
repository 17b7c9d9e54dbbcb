"""The figures of a report, computed again from stored scores and outcomes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mmer_core.attacks.curves import success_curves
from mmer_core.attacks.record import CurvePoint
from mmer_core.config import EvaluationConfig, ReportConfig
from mmer_core.errors import OtherVersion
from mmer_core.evaluation.record import EvaluationRecord
from mmer_core.inference import TrainedModel
from mmer_core.record import Interval
from mmer_core.reporting.labels import attack_name, metric, pixels
from mmer_core.stages.comparisons import comparisons, open_probes, photos_of, under_attack
from mmer_core.stages.context import Context
from mmer_core.stages.report import COMPARISONS_FILE, reported_models, reported_results
from mmer_core.stages.views import open_measured
from mmer_core.statistics.comparison import Comparison, Comparisons
from mmer_core.store import ArtifactKey
from mmer_core.task_kinds import Measured, kind_of

CLOSE = 1e-6
"""Figures further apart are not the same; processors round differently by less."""

Figures = Mapping[str, Interval | None]


class Recomputed(NamedTuple):
    """One figure of a report, as it was stored and shown, and as it comes out again; None where it is missing."""

    dataset: str
    model: str
    figure: str
    shown: Interval | None
    again: Interval | None

    @property
    def same(self) -> bool:
        """Whether value and interval agree within `CLOSE`."""
        ends = [
            (None, None, None) if one is None else (one.value, one.low, one.high)
            for one in (self.shown, self.again)
        ]
        return all(
            first == second
            if first is None or second is None
            else math.isclose(first, second, rel_tol=0, abs_tol=CLOSE)
            for first, second in zip(*ends, strict=True)
        ) and (self.shown is None) == (self.again is None)


def recompute(context: Context, report: ArtifactKey) -> list[Recomputed]:
    """Every metric, average precision, share under attack and paired difference that a report shows.

    Metrics come from the probabilities and ratings, or embeddings, of the evaluations, shares from the outcomes of the
    attacks, differences from both; labels from the prepared dataset.

    Raises:
        StoreError: The report, or something that it rests on, is not in the store, or is damaged.
    """
    made = context.artifact(report)
    if all(one.path != COMPARISONS_FILE for one in made.manifest.files):
        raise OtherVersion(
            f"{report} was written by another version of mmer, which kept no figures to compare with: write it again with mmer "
            "report"
        )
    shown = Comparisons.read(made.folder / COMPARISONS_FILE).datasets
    config = made.manifest.settings_as(ReportConfig)
    found: list[Recomputed] = []
    for name, models in reported_models(made.manifest).items():
        measured = [open_measured(context, one) for one in models]
        for one, keys in zip(measured, models, strict=True):
            settings = context.store.manifest(keys.evaluation).settings_as(EvaluationConfig)
            trained = TrainedModel.open(context.folder(keys.model), context.device)
            pairs = remeasured(trained, one, settings)
            found += [Recomputed(name, one.spec.family, *pair) for pair in pairs]
        probes = open_probes(context, reported_results(made.manifest, name))
        differences = _differences(shown[name]), _differences(comparisons(measured, config, probes))
        found += [Recomputed(name, "compared", *pair) for pair in _pairs(*differences)]
    return found


def remeasured(
    trained: TrainedModel, measured: Measured, config: EvaluationConfig
) -> Iterator[tuple[str, Interval | None, Interval | None]]:
    """The figures of one model: name, as stored, and again from its scores and outcomes."""
    again = kind_of(trained.spec.task).remeasure(trained, measured, config)
    yield from _pairs(_metrics(measured.evaluation), _metrics(again))
    if measured.outcomes is not None:
        right, photos = under_attack(measured).right, photos_of(measured)
        curves = success_curves(measured.outcomes, clusters=photos, right=right)
        yield from _pairs(_shares(measured.curves), _shares(curves))


def _pairs(shown: Figures, again: Figures) -> Iterator[tuple[str, Interval | None, Interval | None]]:
    for name in {**shown, **again}:
        yield name, shown.get(name), again.get(name)


def _metrics(record: EvaluationRecord) -> Figures:
    return {metric(name).label: value for name, value in record.metrics.items()} | {
        f"AP of {one.name}": one.ap for one in record.per_category
    }


def _shares(curves: Sequence[CurvePoint]) -> Figures:
    named = [(f"{attack_name(one.attack)}, {pixels(one.pixels)}", one) for one in curves]
    return {f"fooled by {name}": one.success for name, one in named} | {
        f"robust accuracy under {name}": one.robust_accuracy for name, one in named
    }


def _differences(found: Sequence[Comparison]) -> Figures:
    return {f"{one.topic}, {one.first} less {one.second}": one.difference for one in found}

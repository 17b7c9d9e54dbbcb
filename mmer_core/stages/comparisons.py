"""Which of a dataset's models is better, and by how much: the questions that a report answers."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmer_core.attacks.comparing import Attacked, compare_attacked, compare_with_control
from mmer_core.config import FAMILIES, Family, ReportConfig
from mmer_core.evaluation.comparing import ABLATION
from mmer_core.stages.context import Context
from mmer_core.stages.lineage import by_training
from mmer_core.stages.probe import PROBABILITIES_FILE, PROBE_FILE, ProbeRecord
from mmer_core.statistics.comparison import Comparison, Rule, corrected
from mmer_core.store import ArtifactKey
from mmer_core.task_kinds import Measured, kind_of

Trainings = Sequence[Measured]
"""Models that differ in the seed of their training alone."""

_WHOLE: tuple[Family, ...] = (*FAMILIES, "zero-shot")


def shown(models: Sequence[Trainings]) -> list[Trainings]:
    """The models that a report compares in all its sections: without ablations, where there are two others."""
    whole = [one for one in models if one[0].spec.family in _WHOLE]
    return whole if len(whole) > 1 else list(models)


class Probed(NamedTuple):
    """A linear probe: the split that it was measured on, what it reads, and its probabilities ``(N, C)``."""

    split: str
    features: str
    streams: frozenset[str]
    probabilities: npt.NDArray[np.float64]


def open_probes(context: Context, results: Sequence[ArtifactKey]) -> list[Probed]:
    """The probes among some results."""
    found = []
    for probe in (context.artifact(key) for key in results if key.kind == "probe"):
        record = ProbeRecord.read(probe.folder / PROBE_FILE)
        probabilities = np.load(probe.folder / PROBABILITIES_FILE, allow_pickle=False)
        features = probe.manifest.inputs["features"]
        found.append(Probed(record.evaluation.split, features, frozenset(record.widths), probabilities))
    return found


def comparisons(
    measured: Sequence[Measured], config: ReportConfig, probes: Sequence[Probed] = ()
) -> list[Comparison]:
    """Skill and robustness of the last model against the first, the baseline; skill of every model against a linear
    probe on the same features, and of the joint model, or the first, against every ablation, each with Holm's correction for
    all of them; and every attack beside its control.

    Args:
        measured: Models in order; those that differ in the seed of their training alone are trainings of one.
        config: Of the report.
        probes: Of the same dataset.
    """
    rule = Rule(margin=config.margin, seed=config.seed)
    models = by_training(measured, lambda one: one.trained)
    chosen = shown(models)
    found = []
    if len(chosen) == 2:
        baseline, other = chosen
        found += compare_two(other, baseline, rule)
    found += corrected([*_beside_probes(chosen, probes, rule)], rule)
    found += corrected([*_ablations(models, rule)], rule)
    for model in filter(None, map(attacked, chosen)):
        found += compare_with_control([*map(under_attack, model)], rule, photos_of(model[0]))
    return found


def compare_two(first: Trainings, second: Trainings, rule: Rule) -> list[Comparison]:
    """Skill of two models on the same split and, where both were attacked with one aim, their robustness."""
    found = list(kind_of(first[0].spec.task).compare(first, second, rule))
    both = [attacked(first), attacked(second)]
    aims = [one.attack.aim() for model in both for one in model]
    if all(both) and all(aim == aims[0] for aim in aims):
        one, other = ([*map(under_attack, model)] for model in both)
        found += compare_attacked(one, other, rule, photos_of(first[0]))
    return found


def same_samples(one: Measured, other: Measured) -> bool:
    """Whether both were measured on the same samples with the same answers, maybe prepared in other sizes."""
    first, second = one.split, other.split
    return (
        first.ids == second.ids
        and first.texts == second.texts
        # Predictions are in the order of a model's labels, which is another where it was trained on other data.
        and tuple(one.spec.labels) == tuple(first.card.labels) == tuple(second.card.labels)
        and (not first.card.labels or np.array_equal(first.labels, second.labels))
    )


def _beside_probes(models: Sequence[Trainings], probes: Sequence[Probed], rule: Rule) -> Iterator[Comparison]:
    for model in models:
        one = model[0]
        read = one.evaluation.split, one.trained.inputs["features"], frozenset(one.spec.streams)
        for probe in probes:
            if read == probe[:-1]:
                found = kind_of(one.spec.task).compare_with_probe(model, probe.probabilities, rule)
                yield from filter(None, [found])


def _ablations(models: Sequence[Trainings], rule: Rule) -> Iterator[Comparison]:
    if len(models) < 3:
        return
    default = next((one for one in models if one[0].spec.family == "joint"), models[0])
    for other in models:
        if other is not default and other[0].spec.family not in _WHOLE:
            for skill in kind_of(default[0].spec.task).compare(default, other, rule)[:1]:
                yield skill.model_copy(update={"topic": f"{ABLATION}{other[0].spec.family}"})


def attacked(model: Trainings) -> Trainings:
    """Those of its trainings that were attacked."""
    return [one for one in model if one.outcomes is not None]


def under_attack(measured: Measured) -> Attacked:
    """A model's outcomes, on which images its clean answer is true, and what is measured of them."""
    assert measured.outcomes is not None
    split, spec, kind = (
        measured.prepared.split(measured.attack.split),
        measured.spec,
        kind_of(measured.spec.task),
    )
    right = kind.right(measured.outcomes, split, measured.attack, spec.labels)
    return Attacked(spec.family, measured.outcomes, right, kind.figures_under_attack(split, measured.attack))


def photos_of(measured: Measured) -> dict[str, int]:
    """The photo, or group, of every sample of the attacked split."""
    split = measured.prepared.split(measured.attack.split)
    return dict(zip(split.ids, split.clusters.tolist(), strict=True))

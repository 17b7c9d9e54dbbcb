"""The worst case over attacks, image by image, as AutoAttack reports it (Croce and Hein 2020, arXiv 2003.01690)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from mmer_core.attacks.comparing import Attacked
from mmer_core.attacks.controls import CONTROL_ATTACKS
from mmer_core.attacks.record import Step, WorstCase
from mmer_core.record import Interval
from mmer_core.statistics.clusters import FloatArray
from mmer_core.statistics.trainings import over_trainings


def worst_cases(
    model: Sequence[Attacked], clusters: Mapping[str, int], confidence: float = 0.95
) -> list[WorstCase]:
    """Every figure of a model under all attacks together, at every K, and what each of the attacks added.

    The attack that lowers the first figure most comes first, then the one that lowers what is left most, and so on: an
    attack that adds nothing could have been left out. Controls count where nothing else was run.

    Args:
        model: Every training of it, attacked alike: figures are means over them.
        clusters: The photo, or group, of every sample.
        confidence: Of the intervals.
    """
    runs = set.intersection(*(one.runs() for one in model))
    return [
        case
        for pixels in sorted({k for k, _ in runs})
        for case in _at(pixels, {attack for k, attack in runs if k == pixels}, model, clusters, confidence)
    ]


def _at(
    pixels: int,
    ran: set[str],
    model: Sequence[Attacked],
    clusters: Mapping[str, int],
    confidence: float,
) -> list[WorstCase]:
    attacks = sorted(ran.difference(CONTROL_ATTACKS) or ran)
    samples = [sorted(one.at(pixels, attacks).index) for one in model]
    figures = [one.figures(own) for one, own in zip(model, samples, strict=True)]
    versions = [one.versions(pixels, attacks, own) for one, own in zip(model, samples, strict=True)]
    photos = [np.array([clusters[sample] for sample in own]) for own in samples]

    @cache
    def worst(place: int, chosen: tuple[str, ...]) -> list[FloatArray]:
        """The readings that count for one figure under some attacks, of every training."""
        pairs = zip(figures, versions, strict=True)
        return [known[place].worst(each.under(chosen)) for known, each in pairs]

    def value(place: int, chosen: Sequence[str]) -> float:
        found = worst(place, tuple(sorted(chosen)))
        return float(np.mean([known[place].value(one) for known, one in zip(figures, found, strict=True)]))

    def interval(place: int, readings: Sequence[FloatArray]) -> Interval:
        each = zip(figures, readings, photos, strict=True)
        return over_trainings(
            [known[place].interval(one, own, confidence) for known, one, own in each], confidence
        ).interval

    order: list[str] = []
    while left := [attack for attack in attacks if attack not in order]:
        order.append(min(left, key=lambda attack: value(0, [*order, attack])))
    return [
        WorstCase(
            pixels=pixels,
            n=round(np.mean([*map(len, samples)])),
            figure=figure.name,
            label=figure.label,
            clean=interval(place, [one.clean for one in versions]),
            robust=interval(place, worst(place, tuple(attacks))),
            steps=tuple(
                Step(attack=attack, value=value(place, order[: number + 1]))
                for number, attack in enumerate(order)
            ),
        )
        for place, figure in enumerate(figures[0])
    ]

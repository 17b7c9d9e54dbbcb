"""Figures of attacked images in the worst case: of every image counts the version that is worst for the figure.

A *version* of an image is the clean one, or the one that an attack left, judged alone. What is kept of how the model
judged a version is its *reading*: whether the answer is right (1 or 0), then what the figures of the task need.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmer_core.record import Interval
from mmer_core.statistics.clusters import FloatArray, Ints
from mmer_core.statistics.comparison import Comparison, Question, Rule, compare_metrics, compare_shares
from mmer_core.statistics.resampling import Statistic, resampled
from mmer_core.statistics.shares import share_interval
from mmer_core.statistics.trainings import resampled_difference

_RESAMPLES = 1000


@dataclass(frozen=True)
class Figure(ABC):
    """A figure in percent of ``N`` images, of readings ``(N, F)``.

    Attributes:
        name: As in records, ``"map"``.
        label: In running text, ``"mAP"``.
        question: Which of two models is better by it, without the question mark.
    """

    name: str
    label: str
    question: str

    @property
    def together(self) -> str:
        """Questions about figures of the same name here are asked together, and corrected for it."""
        return self.name

    @abstractmethod
    def worst(self, versions: FloatArray) -> FloatArray:
        """The readings ``(N, F)`` that count, out of ``versions (V, N, F)``, of which the first is clean."""

    @abstractmethod
    def value(self, readings: FloatArray) -> float:
        """The figure."""

    @abstractmethod
    def interval(self, readings: FloatArray, clusters: Ints, confidence: float) -> Interval:
        """The figure with its interval; ``clusters (N,)`` are what was drawn."""

    @abstractmethod
    def compare(
        self,
        question: Question,
        first: Sequence[FloatArray],
        second: Sequence[FloatArray],
        rule: Rule,
        clusters: Ints,
    ) -> Comparison:
        """Two models by it; ``first`` and ``second`` are the readings of every training, of the same images."""


@dataclass(frozen=True)
class Share(Figure):
    """A share of queries, of which an image may have several; the worst version is that with the fewest hits.

    Attributes:
        hits: Readings ``(..., N, F)`` to ``(..., N, M)``: 1 for a hit, 0 for none, NaN where an image has fewer queries.
    """

    hits: Callable[[FloatArray], FloatArray]
    group: str = ""

    @property
    def together(self) -> str:
        return self.group or self.name

    def worst(self, versions: FloatArray) -> FloatArray:
        fewest = np.nansum(self.hits(versions), axis=-1).argmin(axis=0)
        return versions[fewest, np.arange(versions.shape[1])]

    def value(self, readings: FloatArray) -> float:
        return 100 * float(np.nanmean(self.hits(readings)))

    def interval(self, readings: FloatArray, clusters: Ints, confidence: float) -> Interval:
        hits, own = self._queries(readings, clusters)
        return share_interval(hits, confidence, own)

    def compare(
        self,
        question: Question,
        first: Sequence[FloatArray],
        second: Sequence[FloatArray],
        rule: Rule,
        clusters: Ints,
    ) -> Comparison:
        one, other = (
            np.stack([self._queries(each, clusters)[0] for each in model]) for model in (first, second)
        )
        return compare_shares(question, one, other, rule, self._queries(first[0], clusters)[1])

    def _queries(self, readings: FloatArray, clusters: Ints) -> tuple[npt.NDArray[np.bool_], Ints]:
        """``(Q,)`` hits of all queries, and the cluster of each."""
        hits = self.hits(readings)
        there = ~np.isnan(hits)
        return hits[there] > 0, np.repeat(clusters, there.sum(axis=-1))


@dataclass(frozen=True)
class Metric(Figure):
    """A figure that depends on all images together, such as one of rankings.

    The attacker begins with the clean images, and replaces one image after another by the version with which the figure
    is lowest, until no single replacement lowers it. There may be a lower one, which only trying all combinations of versions
    would find: what is found bounds the worst case over these versions from above.

    Attributes:
        begin: From clean readings ``(N, F)`` to the figure that follows replacements.
        statistic: Of readings ``(N, F)``.
        counted: It is of counts, so that two models may show no difference at all in a small sample (see
            `mmer_core.statistics.resampling.Resampled.with_least_error`).
    """

    begin: Callable[[FloatArray], Replacing]
    statistic: Callable[[FloatArray], Statistic]
    counted: bool = False

    def worst(self, versions: FloatArray) -> FloatArray:
        chosen = versions[0].copy()
        state = self.begin(chosen)
        lowest = state.value()
        moving = np.flatnonzero((versions != chosen).any(axis=(0, 2))).tolist()
        lowered = True
        while lowered:
            lowered = False
            for row in moving:
                values = state.values(row, versions[:, row])
                best = int(values.argmin())
                if values[best] < lowest - 1e-12:
                    lowest, lowered = values[best], True
                    chosen[row] = versions[best, row]
                    state.replace(row, chosen[row])
        return chosen

    def value(self, readings: FloatArray) -> float:
        return float(self.statistic(readings)(np.ones((len(readings), 1)))[0, 0])

    def interval(self, readings: FloatArray, clusters: Ints, confidence: float) -> Interval:
        found = resampled(self.statistic(readings), len(readings), _RESAMPLES, 0, clusters)
        return found.intervals(confidence, 0, 100)[0]

    def compare(
        self,
        question: Question,
        first: Sequence[FloatArray],
        second: Sequence[FloatArray],
        rule: Rule,
        clusters: Ints,
    ) -> Comparison:
        one, other = ([*map(self.statistic, model)] for model in (first, second))
        n = len(clusters)
        values, found = resampled_difference(one, other, n, rule.resamples, rule.seed, clusters)
        if self.counted:
            found = found.with_least_error(100 / (found.clusters + 1))
        trainings = max(len(one), len(other))
        return compare_metrics([question], values, found, n, rule, trainings)[0]


class Replacing(ABC):
    """A figure while images are replaced one at a time."""

    @abstractmethod
    def value(self) -> float:
        """Of the images as they are now."""

    @abstractmethod
    def values(self, row: int, readings: FloatArray) -> FloatArray:
        """``(V,)`` what it would be with one image replaced by each of ``readings (V, F)``."""

    @abstractmethod
    def replace(self, row: int, reading: FloatArray) -> None:
        """Replace one image for good."""


Figures = Callable[[Sequence[str]], list[Figure]]
"""From ids of images to their figures, the headline first."""

ACCURACY = Share(
    "accuracy", "accuracy", "Which model is right more often", lambda readings: readings[..., :1]
)
"""Right, and still right attacked, of all images: robust accuracy (Croce and Hein 2020, arXiv:2003.01690)."""


def accuracy_alone(samples: Sequence[str]) -> list[Figure]:
    """The figures of what keeps nothing else."""
    return [ACCURACY]

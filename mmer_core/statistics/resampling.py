"""How far a metric would move had other photos been drawn, from random halves of those that were.

The bootstrap fits poorly to average precision: a positive drawn twice vouches for itself, and with few positives the
metric itself is too high by more than a resample shows. A random half *without* replacement repeats nothing, and from
all to half of the data a metric moves and spreads by what it does from infinitely many to all, to first order: the
delete-half jackknife, Shao and Wu 1989, *A General Theory for Jackknife Variance Estimation*,
https://doi.org/10.1214/aos/1176347263. ``python -m benchmarks.coverage`` compares both on the truth.

A half is not a copied data set but a vector of zeros and ones, which a statistic uses as weights: what can be sorted
or compared once is then done once, not once a half.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mmer_core.record import Interval
from mmer_core.statistics.clusters import FloatArray, Ints, numbered

WEIGHTS_AT_ONCE = 500_000
FEWEST = 5
"""What rests on fewer clusters has no interval and no test: they say too little of how clusters differ."""

Statistic = Callable[[FloatArray], FloatArray]
"""``weights (N, R) -> (M, R)``; weights of 1 give the values."""


@dataclass(frozen=True)
class Resampled:
    """``M`` metrics of one sample, as precisely as it shows them; NaN where one is not defined.

    Attributes:
        values: ``(M,)`` of all samples.
        bias: ``(M,)`` by which a value is expected to lie above that of the population.
        error: ``(M,)`` standard error.
        clusters: That were drawn from.
        rests_on: ``(M,)`` clusters without which a metric would not be what it is, say those with a positive; all when
            left out. Student's degrees of freedom are one less.
        between: ``(M,)`` the part of the squared error that is from several trainings, if there are; see
            `mmer_core.statistics.trainings`.
        between_freedom: ``(M,)`` its degrees of freedom.
        lasting: ``(M,)`` what of it samples without end would leave.
    """

    values: FloatArray
    bias: FloatArray
    error: FloatArray
    clusters: int
    rests_on: Ints | None = None
    between: FloatArray | None = None
    between_freedom: FloatArray | None = None
    lasting: FloatArray | None = None

    @property
    def freedom(self) -> npt.ArrayLike:
        """Student's; of an error that is from trainings and from samples, Satterthwaite's."""
        samples = np.maximum(1, (self.clusters if self.rests_on is None else self.rests_on) - 1)
        if self.between is None:
            return samples
        part = np.divide(self.between, self.error**2, out=np.zeros_like(self.error), where=self.error > 0)
        return 1 / (part**2 / self.between_freedom + (1 - part) ** 2 / samples)

    def intervals(
        self, confidence: float, low: npt.ArrayLike = -np.inf, high: npt.ArrayLike = np.inf
    ) -> list[Interval]:
        """``M`` intervals: value less bias, plus and minus Student's quantile times the error, within ``low..high``.

        Where the bias is large, the value itself may lie outside: it is not the best guess at the population's.

        Raises:
            ValueError: A confidence outside 0..1.
        """
        from scipy.stats import t as student

        if not 0 < confidence < 1:
            raise ValueError(f"confidence is {confidence}, but must lie between 0 and 1")
        half = student.ppf((1 + confidence) / 2, self.freedom) * self.error
        middle = self.values - self.bias
        ends = np.clip(middle - half, low, high), np.clip(middle + half, low, high)
        return [Interval(*row) for row in zip(self.values, *ends, strict=True)]

    def resting_on(self, clusters: npt.ArrayLike) -> "Resampled":
        """The same, where each metric rests on ``(M,)`` of the clusters: neither interval nor test for fewer than `FEWEST`
        of more.

        Average precision moves by its positives; judged as if by all people, rare categories would seem too sure.
        """
        own = np.asarray(clusters, dtype=np.int64)
        few = own < min(FEWEST, self.clusters)
        return replace(self, error=np.where(few, np.nan, self.error), rests_on=own)

    def with_least_error(self, error: npt.ArrayLike) -> "Resampled":
        """The same with errors of at least these ``(M,)``: of a difference between counts, which may be 0 in every half
        of a small sample, though others would show one."""
        return replace(self, error=np.maximum(self.error, error))

    def p_values(self) -> FloatArray:
        """``(M,)`` two-sided, of each metric being 0 in the population: by Student's t; 1 for one that is 0 in every half,
        NaN where the error is not known or every half gives the same other value, which shows too little data."""
        from scipy.stats import t as student

        middle = np.abs(self.values - self.bias)
        silent = np.where((middle == 0) & (self.error == 0), 0.0, np.nan)
        return 2 * student.sf(np.divide(middle, self.error, out=silent, where=self.error > 0), self.freedom)


def resampled(
    statistic: Statistic, n: int, resamples: int, seed: int, clusters: npt.ArrayLike | None = None
) -> Resampled:
    """Values, biases and errors of ``M`` metrics of ``n`` samples.

    Args:
        statistic: Of weights 0 or 1, of many halves at once.
        n: Samples, ``N``.
        resamples: Halves to draw.
        seed: Same seed, same halves.
        clusters: ``(N,)`` what was sampled together and is drawn together; each sample alone when left out.

    Returns:
        The metrics. Halves in which one is NaN (say, no positive is among them) do not count for it; its error is NaN
        where fewer than two are left.

    Raises:
        ValueError: ``n`` or ``resamples`` below 1, or not one cluster a sample.
    """
    if n < 1 or resamples < 1:
        raise ValueError(f"cannot draw {resamples} halves of {n} samples: both must be at least 1")
    own = numbered(clusters, n)
    count = int(own.max()) + 1
    half = count // 2
    values = statistic(np.ones((n, 1)))[:, 0]
    if not half:
        unknown = np.full(len(values), np.nan)
        return Resampled(values, np.zeros(len(values)), unknown, count)
    generator = np.random.default_rng(seed)
    block = max(1, WEIGHTS_AT_ONCE // n)
    drawn = np.concatenate(
        [
            statistic(_halves(generator, count, half, min(block, resamples - start))[own])
            for start in range(0, resamples, block)
        ],
        axis=1,
    )  # (M, R)
    defined = ~np.isnan(drawn)
    times = defined.sum(axis=1)
    mean = np.divide(
        np.where(defined, drawn, 0).sum(axis=1), times, out=np.full(len(values), np.nan), where=times > 1
    )
    squares = (np.where(defined, drawn - mean[:, None], 0) ** 2).sum(axis=1)
    grown = half / (count - half)  # what is left of bias and variance with all clusters, not half of them
    error = np.sqrt(grown * np.divide(squares, times - 1, out=np.full_like(mean, np.nan), where=times > 1))
    return Resampled(values, np.nan_to_num(grown * (mean - values)), error, count)


def _halves(generator: np.random.Generator, count: int, half: int, resamples: int) -> FloatArray:
    """``(count, resamples)`` 1 for each of ``half`` clusters, 0 for the others."""
    chosen = np.zeros((resamples, count))
    chosen[:, :half] = 1
    return np.ascontiguousarray(generator.permuted(chosen, axis=1).T)

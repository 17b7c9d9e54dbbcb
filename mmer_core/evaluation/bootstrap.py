"""Percentile bootstrap: how far a metric would move had other samples been drawn.

Efron and Tibshirani 1993, *An Introduction to the Bootstrap*, chapter 13. A resample is not a copied data set
but a vector of counts, how often each sample was drawn, which a statistic uses as weights: what can be sorted
or compared once is then done once, not once a resample.
"""

from collections.abc import Callable

import numpy as np

from mmer_core.evaluation.arrays import FloatArray
from mmer_core.record import Interval

WEIGHTS_AT_ONCE = 500_000


def bootstrap(
    statistic: Callable[[FloatArray], FloatArray], n: int, resamples: int, confidence: float, seed: int
) -> list[Interval]:
    """Intervals of ``M`` metrics of ``n`` samples.

    Args:
        statistic: ``weights (N,) -> (M,)``; all weights 1 gives the values.
        n: Samples to draw, with replacement, from ``n``.
        resamples: How many times.
        confidence: Share of the resamples inside an interval, e.g. 0.95.
        seed: Same seed, same intervals.

    Returns:
        ``M`` intervals. Resamples in which a metric is NaN (say, no positive was drawn) do not count for it.

    Raises:
        ValueError: ``n`` or ``resamples`` below 1, or a confidence outside 0..1.
    """

    def one_by_one(weights: FloatArray) -> FloatArray:
        return np.stack([statistic(np.ascontiguousarray(column)) for column in weights.T], axis=1)

    return bootstrap_blocks(one_by_one, n, resamples, confidence, seed)


def bootstrap_blocks(
    statistic: Callable[[FloatArray], FloatArray], n: int, resamples: int, confidence: float, seed: int
) -> list[Interval]:
    """`bootstrap` for a statistic that takes many resamples at once: ``weights (N, R) -> (M, R)``."""
    if n < 1 or resamples < 1:
        raise ValueError(f"cannot draw {resamples} resamples of {n} samples: both must be at least 1")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, but must lie between 0 and 1")
    generator = np.random.default_rng(seed)
    values = statistic(np.ones((n, 1)))[:, 0]  # (M,)
    block = max(1, WEIGHTS_AT_ONCE // n)
    drawn = [
        statistic(_counts(generator, n, min(block, resamples - start)))
        for start in range(0, resamples, block)
    ]
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    return [
        Interval(float(value), *_quantiles(row, tails))
        for value, row in zip(values, np.concatenate(drawn, axis=1), strict=True)
    ]


def _counts(generator: np.random.Generator, n: int, resamples: int) -> FloatArray:
    """``(N, R)`` how often each sample is drawn in each resample; every column sums to ``n``."""
    drawn = generator.integers(n, size=(resamples, n)) * resamples + np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=n * resamples).reshape(n, resamples).astype(np.float64)


def _quantiles(values: FloatArray, tails: list[float]) -> tuple[float, float]:
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, tails)
    return float(low), float(high)

"""Figures of several trainings on the same images: the variance between trainings apart from that between images.

Trainings and images are both drawn, and every training is measured on every image: crossed random effects. This is the
design of studies in which several readers read the same cases, and their analysis is taken: Obuchowski and Rockette
1995, with the degrees of freedom of Hillis 2007, as Hillis 2014 derives them for readers of one test, for the same
readers of two, and for other readers of each (*A marginal-mean ANOVA approach for analyzing multireader multicase
radiological imaging data*, https://doi.org/10.1002/sim.5926). A reader is a training here, a case an image.

With ``S`` trainings, the variance of the mean is ``B / S + C``: ``B`` is the variance of the figures that the trainings
gave, and ``C`` the covariance that two of them have by their common images, never below 0. What images do to one
training alone is part of ``B``. ``python -m benchmarks.coverage`` shows that the intervals cover.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmer_core.record import Interval
from mmer_core.statistics.clusters import FloatArray, numbered
from mmer_core.statistics.resampling import Resampled, Statistic, resampled
from mmer_core.statistics.shares import mean_interval, share_interval


@dataclass(frozen=True)
class Several:
    """``M`` figures of ``S`` trainings, with standard errors by the images; or one figure, without the last axis.

    Attributes:
        values: ``(S, M)``.
        own: ``(S, M)`` error of each by the images.
        joint: ``(M,)`` error of their mean by the images.
    """

    values: FloatArray
    own: FloatArray
    joint: FloatArray

    @property
    def between(self) -> FloatArray:
        """``(M,)`` variance of the mean by the figures of the trainings, ``B / S``; 0 for a single one."""
        count = len(self.values)
        return self.values.var(axis=0, ddof=1) / count if count > 1 else np.zeros_like(self.joint)

    @property
    def alone(self) -> FloatArray:
        """``(M,)`` the part of the mean's variance by images that no two trainings share; it is in ``between`` too."""
        count = len(self.values)
        if count == 1:
            return np.zeros_like(self.joint)
        return ((self.own**2).mean(axis=0) - self.joint**2) / (count - 1)

    @property
    def deviations(self) -> tuple[FloatArray, FloatArray]:
        """``(M,)`` standard deviations of a figure: from training to training, if there were images without end, and from
        one draw of images to another; NaN for trainings of which there is one."""
        count = len(self.values)
        images = np.sqrt((self.own**2).mean(axis=0))
        if count == 1:
            return np.full_like(images, np.nan), images
        return np.sqrt(np.maximum(0, count * (self.between - self.alone))), images


@dataclass(frozen=True)
class Spread:
    """``M`` means over trainings, or differences of such means.

    Attributes:
        value: ``(M,)``.
        between: ``(M,)`` the part of the variance that is from the figures of the trainings.
        alone: ``(M,)`` the part of that by what images do to one training alone, which more images lower.
        images: ``(M,)`` the part that is from the images.
        between_freedom: ``(M,)`` degrees of freedom of ``between``; infinite where that is not estimated.
        clusters: Of the images.
    """

    value: FloatArray
    between: FloatArray
    alone: FloatArray
    images: FloatArray
    between_freedom: FloatArray
    clusters: int

    @property
    def error(self) -> FloatArray:
        return np.sqrt(self.between + self.images)

    @property
    def lasting(self) -> FloatArray:
        """``(M,)`` the part of the variance that images without end would leave."""
        return np.maximum(0, self.between - self.alone)

    @property
    def freedom(self) -> FloatArray:
        """``(M,)`` degrees of freedom of the error by Satterthwaite: that of the images has as many as it needs."""
        whole = self.between + self.images
        part = np.divide(self.between, whole, out=np.zeros_like(whole), where=whole > 0)
        with np.errstate(divide="ignore"):
            return self.between_freedom / part**2


def crossed(several: Several, clusters: int) -> Spread:
    """The mean of several trainings on the same images."""
    freedom = float(len(several.values) - 1) or np.inf
    images = np.maximum(0, several.joint**2 - several.alone)
    mean = several.values.mean(axis=0)
    return Spread(mean, several.between, several.alone, images, np.full_like(mean, freedom), clusters)


def apart(first: Several, second: Several, joint: FloatArray, clusters: int) -> Spread:
    """The difference between the means of trainings of two kinds, each drawn by itself, on the same images.

    Args:
        first: And ``second``, which may have another number of trainings.
        joint: ``(M,)`` error of the difference by the images.
        clusters: Of the images.
    """
    parts = first.between, second.between
    freedoms = (max(1, len(one.values) - 1) for one in (first, second))
    squares = sum(part**2 / freedom for part, freedom in zip(parts, freedoms, strict=True))
    between = parts[0] + parts[1]
    freedom = np.divide(between**2, squares, out=np.full_like(between, np.inf), where=squares > 0)
    alone = first.alone + second.alone
    images = np.maximum(0, joint**2 - alone)
    value = first.values.mean(axis=0) - second.values.mean(axis=0)
    return Spread(value, between, alone, images, freedom, clusters)


def influences(
    hits: npt.ArrayLike, clusters: npt.ArrayLike | None = None
) -> tuple[FloatArray, npt.NDArray[np.float64]]:
    """Shares of several trainings, and what each cluster does to them.

    Args:
        hits: ``(S, N)`` true or 1, false or 0, or NaN where a training does not have the image.
        clusters: ``(N,)``; each image its own when left out.

    Returns:
        ``(S,)`` shares in 0..1, and ``(S, C)`` the part that each cluster has in what a share lies off the population's.

    Raises:
        ValueError: A training without an image, or not one cluster an image.
    """
    hit = np.asarray(hits, dtype=np.float64)
    there = ~np.isnan(hit)
    counts = there.sum(axis=1)
    if hit.ndim != 2 or not counts.all() or not len(hit):
        raise ValueError(f"hits of shape {hit.shape} leave a training without an image")
    shares = np.where(there, hit, 0).sum(axis=1) / counts
    apart = np.where(there, hit - shares[:, None], 0) / counts[:, None]
    own = numbered(clusters, hit.shape[1])
    return shares, np.stack([np.bincount(own, weights=one) for one in apart])


def _several(shares: FloatArray, parts: FloatArray) -> Several:
    return Several(shares, _error(parts), _error(parts.mean(axis=0)))


def _error(parts: FloatArray) -> FloatArray:
    """Standard error of sums of ``parts (..., C)`` of clusters that were drawn, with a mean of 0."""
    count = parts.shape[-1]
    return np.sqrt((parts**2).sum(axis=-1) * count / max(1, count - 1))


def spread_of_share(hits: npt.ArrayLike, clusters: npt.ArrayLike | None = None) -> tuple[Several, Spread]:
    """Share of ``hits`` (see `influences`), in 0..1, over all trainings."""
    shares, parts = influences(hits, clusters)
    several = _several(shares, parts)
    return several, crossed(several, parts.shape[1])


def spread_of_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
    *,
    paired: bool,
) -> Spread:
    """Share of ``first (S, N)`` less that of ``second``, on the same images, in -1..1 (see `influences`).

    The variance is at least that of one image in which they differ, as if there were one more: where none is, it is not
    known.

    Args:
        paired: Both are of the same trainings, or of trainings that begin alike, in the same order. Otherwise each
            training was drawn by itself, and there may be more of one than of the other.

    Raises:
        ValueError: Pairs without a partner; and see `influences`.
    """
    (shares, parts), (others, other_parts) = influences(first, clusters), influences(second, clusters)
    if paired:
        if len(shares) != len(others):
            raise ValueError(f"{len(shares)} trainings do not go with {len(others)}")
        spread = crossed(_several(shares - others, parts - other_parts), parts.shape[1])
    else:
        joint = _error(parts.mean(axis=0) - other_parts.mean(axis=0))
        spread = apart(_several(shares, parts), _several(others, other_parts), joint, parts.shape[1])
    least = 1 / (parts.shape[1] + 1) ** 2
    images = np.maximum(spread.images, least - spread.between)
    return replace(spread, images=images)


def share_over_trainings(
    hits: npt.ArrayLike, confidence: float = 0.95, clusters: npt.ArrayLike | None = None
) -> Interval:
    """Share of ``hits (S, N)``, mean over trainings, in percent, with an interval of trainings and images.

    Wilson's interval of as many samples as would give the standard error, with Student's quantile instead of the normal
    one (Korn and Graubard 1998, *Confidence Intervals for Proportions with Small Expected Number of Positive Counts
    Estimated from Survey Data*): it lies in 0..100. Of a single training it is of the images alone. None for all
    without an image.

    Args:
        hits: See `influences`.
        confidence: Of the interval.
        clusters: ``(N,)``; each image its own when left out.
    """
    hit = np.asarray(hits, dtype=np.float64)
    if not hit.size or np.isnan(hit).all():
        return Interval(None, None, None)
    if len(hit) == 1:
        there = ~np.isnan(hit[0])
        own = numbered(clusters, hit.shape[1])
        return share_interval(hit[0, there], confidence, own[there])
    _, spread = spread_of_share(hit, clusters)
    value = float(spread.value)
    independent = value * (1 - value) / np.isfinite(hit).sum()  # as if every training had images of its own
    error = float(np.sqrt(max(float(spread.error) ** 2, independent)))
    return mean_interval(value, error, spread.clusters, confidence, float(spread.freedom))


def gain_over_trainings(
    hits: npt.ArrayLike,
    references: npt.ArrayLike,
    confidence: float = 0.95,
    clusters: npt.ArrayLike | None = None,
) -> Interval:
    """How much higher the share of ``hits (S, N)`` is than that of the ``references`` of the same trainings, in points.

    The interval is like that of `share_over_trainings`, between -100 and 100. None for all without an image.
    """
    if not np.size(hits) or np.isnan(np.asarray(hits, dtype=np.float64)).all():
        return Interval(None, None, None)
    return difference_interval(spread_of_difference(hits, references, clusters, paired=True), confidence)


def paired_interval_over_trainings(differences: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean of the differences ``(S,)`` in points between pairs of trainings, with an interval within -100..100.

    It is of the trainings, and of what images do to one of them alone; what they do to all alike is not in it. No ends
    for a single pair.
    """
    values = np.asarray(differences, dtype=np.float64) / 100
    if len(values) < 2:
        return Interval(100 * values.mean(), None, None)
    spread = crossed(Several(values, np.zeros(len(values)), np.zeros(())), len(values))
    return difference_interval(spread, confidence)


def difference_interval(spread: Spread, confidence: float) -> Interval:
    """A difference of shares in -1..1 as points, with an interval within -100..100."""
    value, error = float(spread.value), float(spread.error)
    half = mean_interval((1 + value) / 2, error / 2, spread.clusters, confidence, float(spread.freedom))
    ends = (None if end is None else 2 * end - 100 for end in (half.low, half.high))
    return Interval(100 * value, *ends)


class OverTrainings(NamedTuple):
    """A mean over trainings with its interval; standard deviations of the figure from training to training (None for a
    single one) and from one draw of images to another."""

    interval: Interval
    trainings: float | None
    images: float | None


def over_trainings(
    figures: Sequence[Interval], confidence: float = 0.95, *, percent: bool = True, least: float = 0.0
) -> OverTrainings:
    """The mean of one figure over several trainings, from the figures and intervals that each had alone.

    What images do to the figure is taken as if it were the same for all trainings, which is at most too careful: the
    intervals of single trainings say nothing of what is common. Figures in percent have an interval like that of
    `share_over_trainings`, others, which are positive, Student's of their logarithm.

    Args:
        figures: At least one, with the intervals of single trainings; those that are not defined do not count.
        confidence: Of the intervals, given and returned.
        percent: The figure lies in 0..100.
        least: The lowest that another figure can be.
    """
    from scipy.stats import norm
    from scipy.stats import t as student

    found = [one for one in figures if one.value is not None]
    ends = [(one.low, one.high) for one in found if one.low is not None and one.high is not None]
    if len(found) < 2 or len(ends) < len(found):
        mean = float(np.mean([one.value for one in found])) if found else None
        return OverTrainings(found[0] if len(found) == 1 else Interval(mean, None, None), None, None)
    low, high = np.array(ends, dtype=np.float64).T
    own = (high - low) / (2 * float(norm.ppf((1 + confidence) / 2)))
    several = Several(np.array([one.value for one in found]), own, np.sqrt((own**2).mean()))
    spread = crossed(several, len(found))
    value, error, freedom = float(spread.value), float(spread.error), float(spread.freedom)
    if not error or value in ((0, 100) if percent else (0,)):
        interval = Interval(value, float(low.mean()), float(high.mean()))
    elif percent:
        interval = mean_interval(value / 100, error / 100, 1, confidence, freedom)
    else:
        factor = float(np.exp(student.ppf((1 + confidence) / 2, freedom) * error / value))
        interval = Interval(value, max(least, value / factor), value * factor)
    between, images = (float(one) for one in several.deviations)
    return OverTrainings(interval, between, images)


def resampled_difference(
    first: Sequence[Statistic],
    second: Sequence[Statistic],
    n: int,
    resamples: int,
    seed: int,
    clusters: npt.ArrayLike | None = None,
) -> tuple[FloatArray, Resampled]:
    """Metrics of the trainings of two kinds of model, each drawn by itself, on the same samples.

    Args:
        first: And ``second``: of every training ``weights (N, R) -> (M, R)``.
        n: And all that follows: of the halves, see `mmer_core.statistics.resampling.resampled`.

    Returns:
        ``(2, M)`` means over trainings, and ``M`` differences, first less second, whose errors are from trainings and
        samples.
    """

    def figures(weights: FloatArray) -> FloatArray:
        """Of every training, the means, and the difference: ``((S + S' + 3) * M, R)``."""
        one, other = ([statistic(weights) for statistic in each] for each in (first, second))
        means = [np.mean(each, axis=0) for each in (one, other)]
        return np.concatenate([*one, *other, *means, means[0] - means[1]])

    found = resampled(figures, n, resamples, seed, clusters)
    rows = len(first) + len(second) + 3
    values, error, bias = (each.reshape(rows, -1) for each in (found.values, found.error, found.bias))
    groups = slice(len(first)), slice(len(first), -3)
    one, other = (
        Several(values[group], error[group], joint) for group, joint in zip(groups, error[-3:-1], strict=True)
    )
    spread = apart(one, other, error[-1], found.clusters)
    return values[-3:-1], Resampled(
        values[-1],
        bias[-1],
        spread.error,
        found.clusters,
        between=spread.between,
        between_freedom=spread.between_freedom,
        lasting=spread.lasting,
    )


def mean_over_trainings(
    values: npt.ArrayLike, confidence: float = 0.95, clusters: npt.ArrayLike | None = None
) -> Interval:
    """Mean of ``values (S, N)``, any real figures, over trainings and images, with Student's interval of both.

    Of a single training it is of the images alone. No ends where neither trainings nor images differ in number.

    Args:
        values: One row a training.
        confidence: Of the interval.
        clusters: ``(N,)``; each image its own when left out.
    """
    from scipy.stats import t as student

    means, parts = influences(values, clusters)
    spread = crossed(_several(means, parts), parts.shape[1])
    value, images, between = float(spread.value), float(spread.images), float(spread.between)
    if spread.clusters < 2:
        return Interval(value, None, None)
    # Satterthwaite, with the clusters' own degrees of freedom for the part of the images.
    whole = images + between
    if not whole:
        return Interval(value, value, value)
    freedom = whole**2 / (between**2 / float(spread.between_freedom) + images**2 / (spread.clusters - 1))
    half = float(student.ppf((1 + confidence) / 2, freedom)) * whole**0.5
    return Interval(value, value - half, value + half)

"""Shares, and means of what lies between none and all, with Wilson's interval."""

import math

import numpy as np
import numpy.typing as npt

from mmer_core.record import Interval
from mmer_core.statistics.clusters import effective_sample


def share_interval(
    hits: npt.ArrayLike, confidence: float = 0.95, clusters: npt.ArrayLike | None = None
) -> Interval:
    """Percent of ``hits (N,)`` that are true, with Wilson's interval; None for all where there is no sample.

    Of samples in clusters, the interval is that of as many independent ones as they are worth (Dean and Pagano 2015,
    *Evaluating Confidence Interval Methods for Binomial Proportions in Clustered Surveys*).

    Raises:
        ValueError: A confidence outside 0..1, or not one cluster a sample.
    """
    hit = np.asarray(hits, dtype=np.float64)
    if not len(hit):
        return Interval(None, None, None)
    return wilson(float(hit.mean()), effective_sample(hit, clusters).samples, confidence)


def mean_interval(
    share: float, error: float, clusters: int, confidence: float = 0.95, freedom: float = math.inf
) -> Interval:
    """Interval in percent of a mean of shares, in 0..1, with a standard error: Wilson's of as many samples as would give
    that error, or of as many as there are clusters where all shares are none, or all are whole.

    An error with few degrees of freedom is itself uncertain: Student's quantile instead of the normal one makes for fewer
    samples (Korn and Graubard 1998, see `effective_sample`).
    """
    from scipy.stats import norm
    from scipy.stats import t as student

    tail = (1 + confidence) / 2
    stretch = 1.0 if math.isinf(freedom) else float(norm.ppf(tail) / student.ppf(tail, freedom)) ** 2
    known = error > 0 and 0 < share < 1
    return wilson(share, stretch * share * (1 - share) / error**2 if known else clusters, confidence)


def wilson(share: float, n: float, confidence: float = 0.95) -> Interval:
    """Interval in percent of a share in 0..1 that ``n`` independent samples gave; it has a width for 0 and 1, too.

    Wilson 1927, *Probable Inference, the Law of Succession, and Statistical Inference*,
    https://doi.org/10.1080/01621459.1927.10502953. Brown, Cai and DasGupta 2001, *Interval Estimation for a Binomial
    Proportion*, recommend it from few samples on.

    Raises:
        ValueError: A share outside 0..1, ``n`` not above 0, or a confidence outside 0..1.
    """
    from scipy.stats import norm

    if not (0 <= share <= 1 and n > 0 and 0 < confidence < 1):
        raise ValueError(f"no share has an interval with share={share}, n={n}, confidence={confidence}")
    z = float(norm.ppf((1 + confidence) / 2))
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)))
    # Rounding must not put an end outside 0..1, or beside a share that is the end.
    low, high = max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))
    return Interval(100 * share, 100 * low, 100 * high)

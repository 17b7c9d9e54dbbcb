"""Two yes or no answers about the same samples: is the share of one higher?"""

import numpy as np
import numpy.typing as npt

from mmer_core.record import Interval
from mmer_core.statistics.clusters import FloatArray, effective_sample, numbered


def paired_interval(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    confidence: float = 0.95,
    clusters: npt.ArrayLike | None = None,
) -> Interval:
    """Share of ``first (N,)`` less that of ``second (N,)``, in percentage points, with Tango's score interval.

    Tango 1998, *Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design*. It keeps its level where few pairs differ, and has a width where none do. Samples in clusters count as the
    independent ones that they are worth.

    Raises:
        ValueError: Shapes that do not fit, no sample, or a confidence outside 0..1.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    one, other = _pair(first, second)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, but must lie between 0 and 1")
    apart = one.astype(np.float64) - other
    n = effective_sample(apart, clusters).samples
    more, less = n * float((apart > 0).mean()), n * float((apart < 0).mean())
    value, z = (more - less) / n, float(norm.ppf((1 + confidence) / 2))

    def low(difference: float) -> float:
        return tango_score(more, less, n, difference) - z

    def high(difference: float) -> float:
        return tango_score(more, less, n, difference) + z

    edge = 1 - 1e-9
    bottom = brentq(low, -edge, value) if value > -edge and low(-edge) > 0 else -1.0
    top = brentq(high, value, edge) if value < edge and high(edge) < 0 else 1.0
    return Interval(100 * value, 100 * bottom, 100 * top)


def tango_score(more: float, less: float, n: float, difference: float) -> float:
    """Tango's statistic of the hypothesis that the shares differ by ``difference``: standard normal under it.

    Args:
        more: Pairs with yes only for the first.
        less: Pairs with yes only for the second.
        n: All pairs.
        difference: In -1..1, first less second.
    """
    linear = -more - less + (2 * n - more + less) * difference
    constant = -less * difference * (1 - difference)
    only_second = (np.sqrt(max(0.0, linear**2 - 8 * n * constant)) - linear) / (4 * n)
    variance = n * (2 * only_second + difference * (1 - difference))
    distance = more - less - n * difference
    if variance <= 0:
        return float(np.sign(distance) * np.inf) if distance else 0.0
    return float(distance / np.sqrt(variance))


def mcnemar(first: npt.ArrayLike, second: npt.ArrayLike, clusters: npt.ArrayLike | None = None) -> float:
    """Exact two-sided p-value of both shares being the same.

    If neither model were better, the two could change places in each cluster, with all of its samples, without making
    a difference: p is the share of all such changes under which the shares lie at least as far apart. For samples of
    their own this is McNemar's exact test (McNemar 1947, https://doi.org/10.1007/BF02295996).

    Raises:
        ValueError: Shapes that do not fit, or no sample.
    """
    one, other = _pair(first, second)
    own = numbered(clusters, len(one))
    lead = np.bincount(own, weights=one.astype(np.float64) - other).astype(np.int64)
    reach = np.zeros(1)
    reach[0] = 1.0  # chances of the sums -reach..reach
    for size, times in zip(*np.unique(np.abs(lead[lead != 0]), return_counts=True), strict=True):
        reach = np.convolve(reach, _swaps(int(size), int(times)))
    sums = np.arange(len(reach)) - (len(reach) - 1) // 2
    return float(min(1.0, reach[np.abs(sums) >= abs(int(lead.sum()))].sum()))


def _swaps(size: int, times: int) -> FloatArray:
    """Chances of the sums of ``times`` signs, each worth ``size``, from the lowest to the highest."""
    from scipy.stats import binom

    chances = np.zeros(2 * size * times + 1)
    chances[:: 2 * size] = binom.pmf(np.arange(times + 1), times, 0.5)
    return chances


def _pair(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if one.ndim != 1 or one.shape != other.shape or not len(one):
        raise ValueError(f"answers of shape {one.shape} and {other.shape} cannot be compared one by one")
    return one, other

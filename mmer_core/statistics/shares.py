"""Shares, and means of what lies between none and all, with Wilson's interval."""

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


def share_over_trainings(shares: npt.ArrayLike, n: int, confidence: float = 0.95) -> Interval:
    """Mean of the shares in 0..1 that each of several trainings gave on the same ``n`` samples, in percent.

    The variance between trainings and that between samples add up; few trainings estimate theirs
    badly, so Wilson's interval takes Student's quantile, with Satterthwaite's degrees of freedom, instead of the normal one. With a single
    training the interval is of the samples alone. None for all without a sample.

    Raises:
        ValueError: No training, or a share outside 0..1.
    """
    from scipy.stats import norm

    share = np.asarray(shares, dtype=np.float64)
    if not n:
        return Interval(None, None, None)
    mean = float(share.mean())
    samples = mean * (1 - mean) / n
    trainings = _between(share)
    if not trainings:
        return wilson(mean, n, confidence)
    # Wilson's interval depends on the quantile and the samples by their ratio only.
    stretch = (
        float(norm.ppf((1 + confidence) / 2)) / _student(trainings, samples, len(share), confidence)
    ) ** 2
    return wilson(mean, stretch * mean * (1 - mean) / (trainings + samples), confidence)


def gain_over_trainings(
    shares: npt.ArrayLike, references: npt.ArrayLike, n: int, confidence: float = 0.95
) -> Interval:
    """How much higher the ``shares`` in 0..1 of several trainings are than the ``references`` of their seeds, in points.

    Variances as in `share_over_trainings`; that of the samples is taken as if both shares were of different ones, which
    is too careful, and with one yes and one no more (Agresti and Caffo 2000), so that 0 of ``n`` twice has a width.
    None for all without a sample.

    Raises:
        ValueError: Not one reference a share, or none.
    """
    share, reference = (np.asarray(values, dtype=np.float64) for values in (shares, references))
    if share.shape != reference.shape or not len(share):
        raise ValueError(f"{len(share)} trainings do not go with {len(reference)}")
    if not n:
        return Interval(None, None, None)
    trainings = _between(share - reference)
    rates = ((n * float(each.mean()) + 1) / (n + 2) for each in (share, reference))
    samples = sum(rate * (1 - rate) for rate in rates) / n
    half = _student(trainings, samples, len(share), confidence) * float(np.sqrt(trainings + samples))
    gain = float((share - reference).mean())
    return Interval(100 * gain, 100 * max(-1.0, gain - half), 100 * min(1.0, gain + half))


def _between(values: npt.NDArray[np.float64]) -> float:
    """Variance of the mean by that between trainings; 0 for a single one."""
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0


def _student(trainings: float, samples: float, times: int, confidence: float) -> float:
    """Student's quantile, with the degrees of freedom of a sum of variances, of which the first is from few values."""
    from scipy.stats import norm
    from scipy.stats import t as student

    if not trainings:
        return float(norm.ppf((1 + confidence) / 2))
    freedom = (times - 1) * ((trainings + samples) / trainings) ** 2
    return float(student.ppf((1 + confidence) / 2, freedom))


def mean_interval(share: float, error: float, clusters: int, confidence: float = 0.95) -> Interval:
    """Interval in percent of a mean of shares, in 0..1, with a standard error: Wilson's of as many samples as would give
    that error, or of as many as there are clusters where there is none."""
    return wilson(share, share * (1 - share) / error**2 if error > 0 else clusters, confidence)


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

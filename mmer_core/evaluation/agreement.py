"""How far two modalities say the same of the same samples."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from mmer_core.evaluation.arrays import FloatArray, finite
from mmer_core.evaluation.record import CategoryAgreement, StreamAgreement
from mmer_core.heavy import stats


def rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    """``(C,)`` Spearman's rank correlation of each column, in -1..1, ties at their mean rank; NaN for a constant.

    Spearman 1904, *The Proof and Measurement of Association between Two Things*,
    https://doi.org/10.2307/1412159.

    Args:
        first: ``(N, C)``.
        second: ``(N, C)``.

    Raises:
        ValueError: NaN, no row, or differing shapes.
    """
    x, y = _alike(first, second)
    x, y = (stats.rankdata(values, axis=0) for values in (x, y))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    return np.divide((x * y).sum(axis=0), scale, out=np.full(x.shape[1], np.nan), where=scale > 0)


def cohen_kappa(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    """``(C,)`` Cohen's kappa of yes/no decisions: agreement beyond chance, 1 whole, 0 none; NaN where both
    always say the same one thing.

    Cohen 1960, *A Coefficient of Agreement for Nominal Scales*, https://doi.org/10.1177/001316446002000104.

    Args:
        first: ``(N, C)`` 0/1.
        second: ``(N, C)`` 0/1.

    Raises:
        ValueError: NaN, no row, differing shapes, or a decision other than 0 and 1.
    """
    x, y = _alike(first, second)
    if not (np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all()):
        raise ValueError("decisions must be 0 or 1")
    observed = (x == y).mean(axis=0)
    p, q = x.mean(axis=0), y.mean(axis=0)
    expected = p * q + (1 - p) * (1 - q)
    possible = 1 - expected
    return np.divide(observed - expected, possible, out=np.full(len(p), np.nan), where=possible > 1e-12)


def stream_agreement(
    probabilities: Mapping[str, FloatArray],
    decide: Callable[[FloatArray], npt.ArrayLike],
    names: Sequence[str],
) -> list[StreamAgreement]:
    """Agreement of every pair of streams, each read alone; figures are None where they are not defined.

    Args:
        probabilities: By stream, ``(N, C)``.
        decide: ``(N, C)`` 0/1 of probabilities: which categories count as present.
        names: ``C`` names of the categories.

    Raises:
        ValueError: NaN, or shapes that do not fit.
    """
    found = []
    for first, second in combinations(probabilities, 2):
        x, y = _alike(probabilities[first], probabilities[second])
        spearman, kappa = rank_correlation(x, y), cohen_kappa(decide(x), decide(y))
        found.append(
            StreamAgreement(
                first=first,
                second=second,
                spearman=_mean(spearman),
                kappa=_mean(kappa),
                per_category=tuple(
                    CategoryAgreement(name=name, spearman=spearman[c], kappa=kappa[c])
                    for c, name in enumerate(names)
                ),
            )
        )
    return found


def _alike(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, y = finite("first", first, 2), finite("second", second, 2)
    if x.shape != y.shape or not len(x):
        raise ValueError(f"arrays of shape {x.shape} and {y.shape} cannot be compared row by row")
    return x, y


def _mean(values: FloatArray) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None

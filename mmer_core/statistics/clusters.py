"""What was sampled together: people and captions of one photo, photos of one group."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def numbered(clusters: npt.ArrayLike | None, n: int) -> Ints:
    """``(N,)`` cluster of each sample, counted from 0; each its own one where none are given.

    Raises:
        ValueError: Not one cluster a sample.
    """
    if clusters is None:
        return np.arange(n, dtype=np.int64)
    own = np.asarray(clusters)
    if own.shape != (n,):
        raise ValueError(f"clusters have shape {own.shape}, but there are {n} samples")
    return np.unique(own, return_inverse=True)[1].astype(np.int64)


def clusters_with(flags: npt.ArrayLike, clusters: npt.ArrayLike | None = None) -> Ints:
    """``(C,)`` how many clusters hold a sample for which each column of ``flags (N, C)`` is true."""
    flag = np.asarray(flags, dtype=bool)
    own = numbered(clusters, len(flag))
    return np.array([len(np.unique(own[column])) for column in flag.T], dtype=np.int64)


def connected(first: npt.ArrayLike, second: npt.ArrayLike) -> Ints:
    """``(N,)`` cluster of each sample, where samples belong together that agree in either ``(N,)`` name, also by way of
    others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, other = (
        np.unique(np.asarray(names, dtype=str), return_inverse=True)[1] for names in (first, second)
    )
    other = other + one.max(initial=-1) + 1
    size = int(other.max(initial=-1)) + 1
    edges = coo_array((np.ones(len(one)), (one, other)), shape=(size, size))
    return connected_components(edges, directed=False)[1][one].astype(np.int64)


class Worth(NamedTuple):
    """How many independent samples a mean is worth, out of how many clusters."""

    samples: float
    clusters: int


def effective_sample(values: npt.ArrayLike, clusters: npt.ArrayLike | None = None) -> Worth:
    """Number of independent samples whose mean would vary as much as that of ``values (N,)``.

    ``N`` divided by the design effect, which is the variance of the mean with clusters (linearised, with replacement)
    over that without. It is never more than ``N``; where all values are the same, nothing is known of how alike the
    samples of a cluster are, and clusters count. Kish 1965, *Survey Sampling*; Korn and Graubard 1998,
    *Confidence Intervals for Proportions with Small Expected Number of Positive Counts Estimated from Survey Data*.

    Raises:
        ValueError: No value, or not one cluster a value.
    """
    value = np.asarray(values, dtype=np.float64)
    if value.ndim != 1 or not len(value):
        raise ValueError(f"values have shape {value.shape}, but must be a list of at least one")
    n, own = len(value), numbered(clusters, len(value))
    count = int(own.max()) + 1
    if count == n:
        return Worth(float(n), n)
    apart = value - value.mean()
    alone = float(apart @ apart) / (n * (n - 1))
    if count < 2 or not alone:
        return Worth(float(count), count)
    together = count / (count - 1) * float((np.bincount(own, weights=apart) ** 2).sum()) / n**2
    return Worth(n / max(1.0, together / alone), count)

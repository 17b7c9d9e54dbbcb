"""What the nearest neighbours of a point in an embedding space say about it."""

import numpy as np
import numpy.typing as npt

from mmer_core.evaluation.arrays import FloatArray, finite
from mmer_core.evaluation.embeddings import COLUMNS_AT_ONCE, PAIRS_AT_ONCE, unit_rows

NEIGHBOURS = 10
"""How many neighbours count, unless there are fewer."""


def nearest(
    embeddings: npt.ArrayLike, k: int = NEIGHBOURS, asked: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.int64]:
    """``(Q, min(k, N - 1))`` rows of highest cosine with each asked row, itself left out; in no order.

    Args:
        embeddings: ``(N, D)``, at least 2 rows.
        k: At least 1.
        asked: ``(Q,)`` the rows whose neighbours are found; all by default.

    Raises:
        ValueError: NaN, fewer than 2 rows, a zero row, or ``k`` below 1.
    """
    rows = unit_rows(embeddings)
    count = len(rows)
    if count < 2 or k < 1:
        raise ValueError(f"{count} embeddings have no {k} neighbours: give at least 2 embeddings and k of 1")
    k = min(k, count - 1)
    asked = np.arange(count) if asked is None else asked
    found = np.empty((len(asked), k), np.int64)
    step = max(1, PAIRS_AT_ONCE // min(count, COLUMNS_AT_ONCE))
    for start in range(0, len(asked), step):
        found[start : start + step] = _nearest(rows, asked[start : start + step], k)
    return found


def _nearest(rows: FloatArray, asked: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.int64]:
    """Of a few asked rows, among a part of all after the other."""
    best = np.empty((len(asked), 0))
    found = np.empty((len(asked), 0), np.int64)
    for first in range(0, len(rows), COLUMNS_AT_ONCE):
        cosine = rows[asked] @ rows[first : first + COLUMNS_AT_ONCE].T
        inside = np.flatnonzero((asked >= first) & (asked < first + COLUMNS_AT_ONCE))
        cosine[inside, asked[inside] - first] = -np.inf
        best, cut = _largest(np.concatenate([best, cosine], axis=1), k)
        places = np.broadcast_to(np.arange(first, first + cosine.shape[1]), cosine.shape)
        found = np.take_along_axis(np.concatenate([found, places], axis=1), cut, axis=1)
    return found


def _largest(values: FloatArray, k: int) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """The ``k`` largest of each row, or all of fewer, and where they are."""
    k = min(k, values.shape[1])
    places = np.argpartition(values, values.shape[1] - k, axis=1)[:, values.shape[1] - k :]
    return np.take_along_axis(values, places, axis=1), places


def neighbour_shares(
    neighbours: npt.NDArray[np.int64], labels: npt.ArrayLike, asked: npt.NDArray[np.int64] | None = None
) -> FloatArray:
    """``(Q, C)`` share, in 0..1, of each asked row's neighbours that carry each label.

    The k-nearest-neighbour estimate of a label's probability, each row left out of its own estimate (Cover
    and Hart 1967, *Nearest neighbor pattern classification*, https://doi.org/10.1109/TIT.1967.1053964). How
    well it ranks says how far the labels are separable in the space without any further training.

    Args:
        neighbours: ``(Q, k)`` as `nearest` gives them.
        labels: ``(N, C)`` 0/1.
        asked: ``(Q,)`` the rows whose neighbours they are; all by default.

    Raises:
        ValueError: NaN, or another number of rows.
    """
    label = finite("labels", labels, 2)
    if len(neighbours) != (len(label) if asked is None else len(asked)) or neighbours.max() >= len(label):
        raise ValueError(f"{len(label)} rows of labels do not go with {len(neighbours)} of neighbours")
    share = np.zeros((len(neighbours), label.shape[1]))
    for column in neighbours.T:
        share += label[column]
    return share / neighbours.shape[1]


def same_group_share(
    neighbours: npt.NDArray[np.int64], groups: npt.ArrayLike, asked: npt.NDArray[np.int64] | None = None
) -> tuple[float, float]:
    """Mean share of a row's neighbours that are of its own group, and what it is when groups are mixed at random.

    Schilling 1986, *Multivariate Two-Sample Tests Based on Nearest Neighbors*,
    https://doi.org/10.1080/01621459.1986.10478337. With modalities as groups: 1 is two modalities that keep
    to themselves, the random share is two that lie in one another.

    Args:
        neighbours: ``(Q, k)`` as `nearest` gives them.
        groups: ``(N,)`` group of each row, of any type.
        asked: ``(Q,)`` the rows whose neighbours they are; all by default.

    Returns:
        Both in 0..1; the second is ``sum_g n_g (n_g - 1) / (N (N - 1))``.

    Raises:
        ValueError: Another number of rows.
    """
    group = np.unique(np.asarray(groups), return_inverse=True)[1]
    own = group if asked is None else group[asked]
    if len(own) != len(neighbours):
        raise ValueError(f"{len(own)} groups do not go with {len(neighbours)} rows of neighbours")
    sizes = np.bincount(group).astype(np.float64)
    expected = (sizes * (sizes - 1)).sum() / (len(group) * (len(group) - 1))
    return float((group[neighbours] == own[:, None]).mean()), float(expected)

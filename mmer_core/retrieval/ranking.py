"""Exact nearest neighbours computed in parts, and the ranks and recalls derived from them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

NEIGHBOURS = 10
"""``k`` of the recall@k that an index is tuned for."""

TIE = 5e-7
"""Cosines of float32 vectors that differ by less count as equal."""

_SCORES_AT_ONCE = 16_000_000


@dataclass(frozen=True)
class Neighbours:
    """The best rows for every query, best first.

    Attributes:
        rows: ``(Q, K)`` int64; padded with -1.
        scores: ``(Q, K)`` cosines; padded with minus infinity.
    """

    rows: Rows
    scores: Scores


def exact_neighbours(
    queries: npt.NDArray[np.float32], vectors: npt.NDArray[np.float32], first: int, k: int
) -> Neighbours:
    """The ``k`` best of ``(n, D)`` vectors, which are the rows from ``first`` on, for ``(Q, D)`` queries."""
    best = nothing(len(queries), k)
    step = max(1, _SCORES_AT_ONCE // max(1, len(queries)))
    for start in range(0, len(vectors), step):
        scores = (queries @ vectors[start : start + step].T).astype(np.float64)
        rows = np.broadcast_to(np.arange(scores.shape[1]) + first + start, scores.shape)
        if scores.shape[1] > k:
            top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            scores, rows = np.take_along_axis(scores, top, axis=1), np.take_along_axis(rows, top, axis=1)
        best = merge([best, Neighbours(rows, scores)], k)
    return best


def nothing(queries: int, k: int) -> Neighbours:
    """The result for no vectors at all: padding only."""
    return Neighbours(np.full((queries, k), -1), np.full((queries, k), -np.inf))


def merge(parts: Iterable[Neighbours], k: int) -> Neighbours:
    """The ``k`` best of several parts; ties are ordered by row."""
    found = list(parts)
    rows = np.concatenate([part.rows for part in found], axis=1)
    scores = np.concatenate([part.scores for part in found], axis=1)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return Neighbours(np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1))


def recall(found: Rows, exact: Neighbours, k: int = NEIGHBOURS) -> float:
    """Recall@k: mean share of the true ``k`` best among the first ``k`` found; ties with the last of them count.

    Args:
        found: ``(Q, >= k)`` rows, best first; -1 for padding.
        exact: Exact neighbours of the same queries, at least ``k`` wide unless there are fewer vectors.
    """
    k = min(k, exact.rows.shape[1])
    last = exact.scores[:, k - 1 : k]
    good = np.where(exact.scores >= last - TIE, exact.rows, -2)
    hits = (found[:, :k, None] == good[:, None, :]).any(axis=2) & (found[:, :k] >= 0)
    wanted = np.isfinite(exact.scores[:, :k]).sum()
    return float(min(hits.sum() / max(1, wanted), 1.0))


def own_ranks(found: Neighbours, own: Rows) -> Rows:
    """``(Q,)`` 0-based rank of the best relevant row; ``K`` if none was found.

    Any other row with the same score as the best relevant one counts as ranked before it, as in
    `mmer_core.evaluation.retrieval_metrics`; other relevant rows do not.

    Args:
        found: ``K`` rows per query.
        own: ``(Q, M)`` relevant rows, padded with -1.
    """
    mine = ((found.rows[:, :, None] == own[:, None, :]) & (own[:, None, :] >= 0)).any(axis=2)
    best = np.where(mine, found.scores, -np.inf).max(axis=1, initial=-np.inf)
    others = (found.rows >= 0) & ~mine
    ahead = (others & (found.scores >= best[:, None] - TIE)).sum(axis=1)
    return np.where(np.isfinite(best), ahead, found.rows.shape[1])


def with_exact_scores(found: Neighbours, exact: Neighbours) -> Neighbours:
    """The rows that an index found, re-sorted by the exact score wherever it is known."""
    known = (found.rows[:, :, None] == exact.rows[:, None, :]) & (found.rows[:, :, None] >= 0)
    true = np.where(known, exact.scores[:, None, :], -np.inf).max(axis=2)
    scores = np.where(known.any(axis=2), true, found.scores)
    return merge([Neighbours(found.rows, scores)], found.rows.shape[1])

"""Metrics of multi-label emotions and of valence, arousal and dominance.

Sample weights may be ``(N,)``, or ``(N, R)`` for ``R`` weightings at once: how many random halves are measured
in one pass.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmer_core.evaluation.arrays import FloatArray, finite, mean_where, scores_and_labels


class SortedScores:
    """One category's scores, sorted once, so that each weighting of its average precision is cheap.

    Args:
        scores: ``(N,)``, higher means more likely.
        labels: ``(N,)`` 0/1.
    """

    def __init__(self, scores: npt.ArrayLike, labels: npt.ArrayLike) -> None:
        score, label = scores_and_labels(scores, labels, 1)
        self._order = np.argsort(-score, kind="stable")
        ordered, positive = score[self._order], label[self._order]
        # Tied scores have no order among them: precision is read at the last row of each tie.
        last_of_tie = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        tie = np.searchsorted(last_of_tie, np.flatnonzero(positive))  # tie of each positive
        self._positives = self._order[positive]
        # Recall only rises at ties that hold a positive; the rest of the curve adds nothing.
        held, first = np.unique(tie, return_index=True)
        self._rows_down_to = last_of_tie[held]
        self._positives_down_to = np.append(first[1:], len(tie)) - 1

    def average_precision(self, weights: FloatArray) -> FloatArray:
        """``(R,)`` average precisions for ``weights (N, R)``, each >= 0; NaN without a positive weight."""
        if not len(self._positives):
            return np.full(weights.shape[1], np.nan)
        everyone = np.cumsum(weights[self._order], axis=0)[self._rows_down_to]  # (ties, R)
        hits = np.cumsum(weights[self._positives], axis=0)[self._positives_down_to]
        total = hits[-1]
        gained = np.diff(hits, axis=0, prepend=0)
        precision = np.divide(hits, everyone, out=np.zeros_like(hits), where=everyone > 0)
        area = (gained * precision).sum(axis=0)
        return np.divide(area, total, out=np.full_like(total, np.nan), where=total > 0)


def average_precision(
    scores: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Area under the precision-recall steps, ``sum_k (R_k - R_{k-1}) P_k``, in 0..1, ties grouped.

    The definition of scikit-learn's ``average_precision_score``
    (https://scikit-learn.org/stable/modules/model_evaluation.html#precision-recall-f-measure-metrics),
    except that it is NaN, not 0, when there is no positive: no ranking could have done better.

    Args:
        scores: ``(N,)``.
        labels: ``(N,)`` 0/1.
        weights: ``(N,)`` >= 0; all 1 when left out.

    Raises:
        ValueError: NaN, differing shapes, no rows, labels other than 0 and 1, or a negative weight.
    """
    ranking = SortedScores(scores, labels)
    weight = _weights(weights, len(np.asarray(scores)))
    return float(ranking.average_precision(weight.reshape(len(weight), 1))[0])


def mean_average_precision(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Mean of `average_precision` over the categories that have a positive, in 0..1; NaN when none has.

    Args:
        scores: ``(N, C)``.
        labels: ``(N, C)`` 0/1.
    """
    score, label = scores_and_labels(scores, labels, 2)
    each = np.array([average_precision(score[:, c], label[:, c]) for c in range(score.shape[1])])
    return float(mean_where(each, ~np.isnan(each)))


class Detection(NamedTuple):
    """Per category, in 0..1: ``(C,)``, or ``(C, R)`` for ``R`` weightings."""

    precision: FloatArray
    recall: FloatArray
    f1: FloatArray


def precision_recall_f1(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> Detection:
    """Precision, recall and F1 of ``probability >= threshold``; 0 where a denominator is 0.

    Args:
        probabilities: ``(N, C)``.
        labels: ``(N, C)`` 0/1.
        thresholds: ``(C,)``.
        weights: ``(N,)`` or ``(N, R)``, >= 0; all 1 when left out.

    Raises:
        ValueError: NaN, differing shapes, no rows, labels other than 0 and 1, or a negative weight.
    """
    score, label = scores_and_labels(probabilities, labels, 2)
    threshold = finite("thresholds", thresholds, 1)
    if threshold.shape != (score.shape[1],):
        raise ValueError(
            f"thresholds have shape {threshold.shape}, but there are {score.shape[1]} categories"
        )
    weight = _weights(weights, len(score))
    predicted = score >= threshold
    found = (predicted & label).T.astype(float) @ weight  # (C,) or (C, R)
    claimed = predicted.T.astype(float) @ weight
    present = label.T.astype(float) @ weight
    return Detection(_ratio(found, claimed), _ratio(found, present), _ratio(2 * found, claimed + present))


def vad_mean_absolute_error(predictions: npt.ArrayLike, ratings: npt.ArrayLike) -> FloatArray:
    """``(V,)`` mean absolute error of each continuous dimension, in the ratings' unit.

    Args:
        predictions: ``(N, V)``.
        ratings: ``(N, V)``.

    Raises:
        ValueError: NaN, differing shapes, or no rows.
    """
    return absolute_errors(predictions, ratings).mean(axis=0)


def absolute_errors(predictions: npt.ArrayLike, ratings: npt.ArrayLike) -> FloatArray:
    """``(N, V)`` absolute errors; see `vad_mean_absolute_error`."""
    predicted, rated = finite("predictions", predictions, 2), finite("ratings", ratings, 2)
    if predicted.shape != rated.shape:
        raise ValueError(f"ratings have shape {rated.shape}, but predictions have {predicted.shape}")
    if not len(rated):
        raise ValueError("ratings are empty: there is nothing to measure")
    return np.abs(predicted - rated)


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _weights(weights: npt.ArrayLike | None, rows: int) -> FloatArray:
    if weights is None:
        return np.ones(rows)
    weight = np.asarray(weights, dtype=np.float64)
    if weight.ndim not in (1, 2) or len(weight) != rows:
        raise ValueError(f"weights have shape {weight.shape}, but there are {rows} rows")
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ValueError("weights must be finite and at least 0")
    return weight

"""Metrics of models that predict exactly one of several classes.

A ``confusion`` has the shape ``(C, C)``: rows are the true classes, columns the predicted ones. The metrics are those
of scikit-learn (https://scikit-learn.org/stable/modules/model_evaluation.html#classification-metrics).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmer_core.config import EvaluationConfig
from mmer_core.evaluation.arrays import FloatArray, mean_where, scores_and_labels
from mmer_core.evaluation.emotion_metrics import SortedScores
from mmer_core.evaluation.record import CategoryFigures, EvaluationRecord
from mmer_core.statistics.clusters import clusters_with
from mmer_core.statistics.resampling import resampled

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "map")


class ClassCounts(NamedTuple):
    """By class, ``(C,)`` or ``(C, R)`` for ``R`` weightings: samples predicted right, of the class, predicted as it."""

    right: FloatArray
    support: FloatArray
    predicted: FloatArray

    @property
    def precision(self) -> FloatArray:
        """In 0..1; 0 for a class that is never predicted."""
        return _ratio(self.right, self.predicted)

    @property
    def recall(self) -> FloatArray:
        """In 0..1; 0 for a class without samples."""
        return _ratio(self.right, self.support)

    @property
    def f1(self) -> FloatArray:
        """In 0..1; 0 for a class without samples that is never predicted."""
        return _ratio(2 * self.right, self.support + self.predicted)

    @property
    def macro_f1(self) -> FloatArray:
        """In 0..1: the mean F1 of the classes that have samples or are predicted."""
        return mean_where(self.f1, self.support + self.predicted > 0)

    def averages(self) -> FloatArray:
        """``(4,)`` or ``(4, R)`` in 0..1: accuracy, balanced accuracy, macro-F1, weighted F1.

        Balanced accuracy is the mean recall of the classes that have samples; weighted F1 weighs each class by its
        samples.
        """
        total = self.support.sum(axis=0)
        return np.stack(
            [
                self.right.sum(axis=0) / total,
                mean_where(self.recall, self.support > 0),
                self.macro_f1,
                (self.support * self.f1).sum(axis=0) / total,
            ]
        )


def class_counts(
    predicted: npt.NDArray[np.int64], truth: npt.NDArray[np.int64], classes: int, weights: FloatArray
) -> ClassCounts:
    """Counts of classes ``(N,)`` in 0..C-1 under ``weights (N,)`` or ``(N, R)``."""
    said, true = np.eye(classes)[predicted].T, np.eye(classes)[truth].T  # (C, N)
    return ClassCounts((said * true) @ weights, true @ weights, said @ weights)


def confusion_matrix(
    predicted: npt.NDArray[np.int64], truth: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.int64]:
    """``(C, C)``: how many samples of each class (row) were predicted as each (column)."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def evaluate_classes(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    names: Sequence[str],
    config: EvaluationConfig,
    clusters: npt.ArrayLike | None = None,
) -> EvaluationRecord:
    """Metrics of a model that predicts its most probable class (the first of equally probable ones).

    Baselines: those of the most frequent class of the *evaluated* samples, predicted always, so they are at least as
    hard to beat as those of any class chosen on train; that of ``map`` is the mean prevalence.

    Args:
        probabilities: ``(N, C)``; each row sums to 1.
        labels: ``(N, C)`` 0/1 with exactly one 1 in each row.
        names: ``C`` names of the classes.
        config: Resamples, confidence and seed of the intervals; what is drawn are clusters.
        clusters: ``(N,)`` the photo, or group, of each sample; each its own when left out.

    Raises:
        ValueError: NaN, shapes or names that do not fit, or a sample without exactly one class.
    """
    scores, marked = scores_and_labels(probabilities, labels, 2)
    count, classes = scores.shape
    if len(names) != classes:
        raise ValueError(f"{len(names)} names do not go with {classes} classes")
    if (marked.sum(axis=1) != 1).any():
        raise ValueError("every sample must have exactly one class")
    truth, predicted = marked.argmax(axis=1), scores.argmax(axis=1)
    rankings = [SortedScores(scores[:, c], marked[:, c]) for c in range(classes)]

    def statistic(weights: FloatArray) -> FloatArray:
        """``weights (N, R) -> (5 + C, R)``, in percent."""
        ap = np.stack([ranking.average_precision(weights) for ranking in rankings])  # (C, R)
        averages = class_counts(predicted, truth, classes, weights).averages()
        return 100 * np.concatenate([averages, mean_where(ap, ~np.isnan(ap))[None], ap])

    found = resampled(statistic, count, config.resamples, config.seed, clusters)
    rests_on = np.append(np.full(len(METRICS), found.clusters), clusters_with(marked, clusters))
    intervals = found.resting_on(rests_on).intervals(config.confidence, 0, 100)
    each, everyone = class_counts(predicted, truth, classes, np.ones(count)), np.ones(count)
    majority = np.full(count, each.support.argmax())
    constant = class_counts(majority, truth, classes, everyone).averages()
    prevalence = each.support / count
    baselines = (*constant, prevalence[prevalence > 0].mean())
    return EvaluationRecord(
        task="classification",
        split=config.split,
        n=count,
        clusters=found.clusters,
        metrics=dict(zip(METRICS, intervals, strict=False)),
        baselines={name: 100 * float(value) for name, value in zip(METRICS, baselines, strict=True)},
        per_category=tuple(
            CategoryFigures(
                name=name,
                ap=intervals[len(METRICS) + c],
                precision=100 * each.precision[c],
                recall=100 * each.recall[c],
                f1=100 * each.f1[c],
                accuracy=100 * (1 - (each.support[c] + each.predicted[c] - 2 * each.right[c]) / count),
                threshold=None,
                prevalence=100 * prevalence[c],
            )
            for c, name in enumerate(names)
        ),
        confusion=tuple(map(tuple, confusion_matrix(predicted, truth, classes).tolist())),
    )


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)

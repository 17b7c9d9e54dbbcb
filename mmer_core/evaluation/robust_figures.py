"""What attacks leave of mAP, macro-F1 and recall: figures of readings, see `mmer_core.attacks.figures`."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mmer_core.attacks.figures import Metric, Replacing, Share
from mmer_core.evaluation.arrays import FloatArray, mean_where
from mmer_core.evaluation.class_metrics import ClassCounts, class_counts
from mmer_core.evaluation.emotion_metrics import SortedScores
from mmer_core.evaluation.retrieval_metrics import RECALLS
from mmer_core.statistics.resampling import Statistic

Flags = npt.NDArray[np.bool_]


def robust_map(labels: npt.ArrayLike, question: str) -> Metric:
    """The mAP of readings whose columns from 1 on are scores of the categories.

    Args:
        labels: ``(N, C)`` 0/1 of the attacked images.
        question: See `Figure`.
    """
    truth = np.asarray(labels) > 0

    def statistic(readings: FloatArray) -> Statistic:
        rankings = [SortedScores(*pair) for pair in zip(readings[:, 1:].T, truth.T, strict=True)]

        def mean(weights: FloatArray) -> FloatArray:
            ap = np.stack([one.average_precision(weights) for one in rankings])
            return 100 * mean_where(ap, ~np.isnan(ap))[None]

        return mean

    return Metric("map", "mAP", question, lambda clean: _Ranked(clean[:, 1:], truth), statistic)


def robust_macro_f1(labels: npt.ArrayLike, question: str) -> Metric:
    """The macro-F1 of readings whose columns from 1 on are scores of the classes; see `robust_map`, with exactly one
    label a row."""
    marked = np.asarray(labels)
    truth, classes = marked.argmax(axis=1), marked.shape[1]

    def statistic(readings: FloatArray) -> Statistic:
        predicted = readings[:, 1:].argmax(axis=1)
        return lambda weights: 100 * class_counts(predicted, truth, classes, weights).macro_f1[None]

    def begin(clean: FloatArray) -> Replacing:
        return _Counted(clean[:, 1:].argmax(axis=1), truth, classes)

    return Metric("macro_f1", "macro-F1", question, begin, statistic, counted=True)


def robust_recalls(image_to_text: bool, text_to_image: bool) -> list[Share]:
    """Recalls of readings: column 1 is the 0-based rank of the image's best own caption, those behind it the ranks of the
    image for each own caption, NaN where it has fewer. An attacked image competes with the others as they are."""
    asks = [("i2t", "image to text", "a caption of an image", slice(1, 2))] * image_to_text
    asks += [("t2i", "text to image", "the image of a caption", slice(2, None))] * text_to_image
    return [
        Share(
            f"{direction}_r{k}",
            f"{label} R@{k}",
            f"Which model finds {what} among the first {k} more often",
            _among(columns, k),
            group="recall",
        )
        for direction, label, what, columns in asks
        for k in RECALLS
    ]


def _among(columns: slice, k: int) -> Callable[[FloatArray], FloatArray]:
    def hits(readings: FloatArray) -> FloatArray:
        ranks = readings[..., columns]
        return np.where(np.isnan(ranks), np.nan, ranks < k)

    return hits


class _Ranked(Replacing):
    """The mAP, as the mean over positives of the precision at their score.

    Args:
        scores: ``(N, C)``.
        truth: ``(N, C)``.
    """

    def __init__(self, scores: FloatArray, truth: Flags) -> None:
        self._scores, self._truth = scores.T.copy(), truth.T  # (C, N)
        self._counts = self._truth.sum(axis=1)  # (C,)
        # Positives of each category, in columns; a category with fewer repeats nobody (row -1, at a score nobody reaches).
        most = int(self._counts.max(initial=0))
        self._rows = np.full((len(self._counts), most), -1)
        for category, there in enumerate(self._truth):
            self._rows[category, : self._counts[category]] = np.flatnonzero(there)
        self._bars = np.full(self._rows.shape, np.inf)
        real = self._rows >= 0
        self._bars[real] = np.take_along_axis(self._scores, np.maximum(self._rows, 0), axis=1)[real]
        self._above = self._reaching(self._scores)  # (C, P) how many images reach the score of each positive
        self._hits = self._reaching(np.where(self._truth, self._scores, -np.inf))  # of them, positives

    def _reaching(self, scores: FloatArray) -> FloatArray:
        """``(C, P)`` how many of ``scores (C, N)`` reach the score of each positive."""
        ordered = np.sort(scores, axis=1)
        return np.stack(
            [
                own.size - np.searchsorted(own, bars, side="left")
                for own, bars in zip(ordered, self._bars, strict=True)
            ]
        ).astype(float)

    def value(self) -> float:
        return float(self.values(0, self._scores.T[:1])[0])

    def values(self, row: int, readings: FloatArray) -> FloatArray:
        shown = readings[:, -len(self._counts) :, None]  # (V, C, 1)
        own = self._truth[:, row, None]  # (C, 1)
        others = (self._rows >= 0) & (self._rows != row)  # (C, P)
        now, then = (
            self._scores[:, row, None] >= self._bars,
            shown >= self._bars,
        )  # does the image reach a positive?
        above = self._above - now + then  # (V, C, P)
        hits = self._hits + own * (then.astype(float) - now)
        precision = np.divide(hits, above, out=np.zeros_like(above), where=others & (above > 0)).sum(axis=-1)
        # The image's own precision, where it is a positive.
        before_it = (self._scores >= shown).sum(axis=-1) - (self._scores[:, row] >= shown[..., 0]) + 1
        hits_before = ((self._bars >= shown) & others).sum(axis=-1) + 1
        area = precision + own[:, 0] * hits_before / before_it  # (V, C)
        shows = self._counts > 0
        return (area[:, shows] / self._counts[shows]).sum(axis=1) / max(1, shows.sum())

    def replace(self, row: int, reading: FloatArray) -> None:
        shown = reading[-len(self._counts) :, None]
        own = self._truth[:, row, None]
        now, then = self._scores[:, row, None] >= self._bars, shown >= self._bars
        self._above += then.astype(float) - now
        self._hits += own * (then.astype(float) - now)
        self._scores[:, row] = shown[:, 0]
        categories, places = np.nonzero(self._rows == row)
        for category, place in zip(categories, places, strict=True):
            bar = self._scores[category, row]
            reached = self._scores[category] >= bar
            self._bars[category, place] = bar
            self._above[category, place] = reached.sum()
            self._hits[category, place] = (reached & self._truth[category]).sum()


class _Counted(Replacing):
    """The macro-F1 of predicted classes ``(N,)``."""

    def __init__(self, predicted: npt.NDArray[np.int64], truth: npt.NDArray[np.int64], classes: int) -> None:
        self._predicted, self._truth = predicted.copy(), truth
        self._counts = class_counts(predicted, truth, classes, np.ones(len(truth)))

    def value(self) -> float:
        return float(self._counts.macro_f1)

    def values(self, row: int, readings: FloatArray) -> FloatArray:
        return self._with(row, readings[:, -len(self._counts.support) :].argmax(axis=1)).macro_f1

    def replace(self, row: int, reading: FloatArray) -> None:
        said = reading[-len(self._counts.support) :].argmax()
        self._counts = ClassCounts(*(each[:, 0] for each in self._with(row, np.array([said]))))
        self._predicted[row] = said

    def _with(self, row: int, said: npt.NDArray[np.int64]) -> ClassCounts:
        """``(C, V)`` counts with one image predicted as each of ``said (V,)``."""
        right, support, predicted = (each[:, None] for each in self._counts)
        everyone = np.eye(len(support))
        apart = everyone[said].T - everyone[self._predicted[row], :, None]  # (C, V)
        own = everyone[self._truth[row], :, None]
        return ClassCounts(right + own * apart, np.broadcast_to(support, apart.shape), predicted + apart)

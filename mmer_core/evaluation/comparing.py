"""Two models on the same split: which one is better, decided on the same samples."""

from collections.abc import Callable, Sequence, Sized
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from mmer_core.evaluation.arrays import FloatArray, mean_where
from mmer_core.evaluation.class_metrics import class_counts
from mmer_core.evaluation.emotion_metrics import SortedScores
from mmer_core.evaluation.evaluate import summary_statistic
from mmer_core.evaluation.retrieval_metrics import RECALLS, Ranks
from mmer_core.statistics.clusters import clusters_with, numbered
from mmer_core.statistics.comparison import (
    Comparison,
    Question,
    Rule,
    compare_metrics,
    compare_shares,
    corrected,
)
from mmer_core.statistics.resampling import Statistic
from mmer_core.statistics.trainings import resampled_difference

SKILL = "skill"
"""Topic of the comparison by the headline metric."""
ABLATION = "ablation "
"""How the topic of the same comparison with a further family begins."""

PROBE = "probe "
"""And with a linear probe on the features that a model reads."""
PROBE_NAME = "linear probe"

CATEGORY = "category "
"""How topics of comparisons about one category begin."""

T = TypeVar("T")
Models = tuple[str, str]
Both = tuple[Sequence[T], Sequence[T]]
"""One of every training of the first model, and of the second."""


class Asked(NamedTuple):
    """Words of questions: the one about the headline metric, and a plural noun for the samples."""

    skill: str
    samples: str


def compare_emotions(
    models: Models,
    scores: Both[npt.ArrayLike],
    labels: npt.ArrayLike,
    names: Sequence[str],
    rule: Rule,
    asked: Asked,
    clusters: npt.ArrayLike | None = None,
) -> list[Comparison]:
    """The mAP, and the AP of every category with Holm's correction for all of them; no test for a category with fewer
    than `mmer_core.statistics.resampling.FEWEST` photos.

    Args:
        models: Names.
        scores: ``(N, C)`` of every training of each.
        labels: ``(N, C)`` 0/1.
        names: ``C`` of them.
        rule: What decides.
        asked: The words of the questions.
        clusters: ``(N,)`` the photo, or group, of each sample.

    Raises:
        ValueError: NaN, or shapes that do not fit.
    """
    truth = np.asarray(labels)

    def figures(of_training: npt.ArrayLike) -> Statistic:
        columns = zip(np.asarray(of_training).T, truth.T, strict=True)
        rankings = [SortedScores(score, label) for score, label in columns]

        def statistic(weights: FloatArray) -> FloatArray:
            ap = 100 * np.stack([one.average_precision(weights) for one in rankings])
            return np.concatenate([mean_where(ap, ~np.isnan(ap))[None], ap])

        return statistic

    questions = [Question(SKILL, asked.skill, "mAP", *models)]
    questions += [
        Question(
            f"{CATEGORY}{name}",
            f"Which model ranks {asked.samples} by {name} better?",
            f"AP of {name}",
            *models,
        )
        for name in names
    ]
    return _whole_and_each(_each(figures, scores), questions, truth, rule, clusters)


def compare_classes(
    models: Models,
    scores: Both[npt.ArrayLike],
    labels: npt.ArrayLike,
    names: Sequence[str],
    rule: Rule,
    asked: Asked,
    clusters: npt.ArrayLike | None = None,
) -> list[Comparison]:
    """Of models that predict the class with the highest score: the macro-F1, the accuracy, and the F1 of every class with
    Holm's correction for all of them; no test for a class with fewer than
    `mmer_core.statistics.resampling.FEWEST` photos. Predictions that never differ are taken as if one did, as
    `mmer_core.statistics.comparison.compare_shares` does.

    Args:
        models: Names.
        scores: ``(N, C)`` of every training of each.
        labels: ``(N, C)`` 0/1, exactly one 1 in each row.
        names: ``C`` of them.
        rule: What decides.
        asked: The words of the questions.
        clusters: ``(N,)`` the photo, or group, of each sample.
    """
    marked = np.asarray(labels)
    truth = marked.argmax(axis=1)

    def figures(of_training: npt.ArrayLike) -> Statistic:
        predicted = np.asarray(of_training).argmax(axis=1)

        def statistic(weights: FloatArray) -> FloatArray:
            counts = class_counts(predicted, truth, len(names), weights)
            return 100 * np.concatenate([counts.macro_f1[None], counts.f1])

        return statistic

    questions = [Question(SKILL, asked.skill, "macro-F1", *models)]
    questions += [
        Question(f"{CATEGORY}{name}", f"Which model recognises {name} better?", f"F1 of {name}", *models)
        for name in names
    ]
    whole, *each = _whole_and_each(_each(figures, scores), questions, marked, rule, clusters, counted=True)
    one, other = (
        np.stack([np.asarray(of_training).argmax(axis=1) == truth for of_training in model])
        for model in scores
    )
    question = Question("accuracy", "Which model is right more often?", "accuracy", *models)
    return [whole, compare_shares(question, one, other, rule, clusters), *each]


def _trainings(both: tuple[Sized, Sized]) -> int:
    return max(map(len, both))


def _each(figures: Callable[[T], Statistic], both: Both[T]) -> Both[Statistic]:
    first, second = both
    return [*map(figures, first)], [*map(figures, second)]


def _whole_and_each(
    figures: Both[Statistic],
    questions: Sequence[Question],
    labels: npt.NDArray[Any],
    rule: Rule,
    clusters: npt.ArrayLike | None,
    *,
    counted: bool = False,
) -> list[Comparison]:
    """A metric, and what it is the mean of, category by category.

    Args:
        figures: ``weights (N, R) -> (1 + C, R)`` in percent: the metric and its parts.
        questions: ``1 + C`` of them.
        labels: ``(N, C)`` 0/1.
        counted: The figures are of counts, so that two models may show no difference at all in a small sample.
    """
    values, found = resampled_difference(*figures, len(labels), rule.resamples, rule.seed, clusters)
    rests_on = np.append(found.clusters, clusters_with(labels, clusters))
    found = found.resting_on(rests_on)
    if counted:
        found = found.with_least_error(100 / (rests_on + 1))
    whole, *each = compare_metrics(questions, values, found, len(labels), rule, _trainings(figures))
    return [whole, *corrected(each, rule)]


def compare_retrieval(
    models: Models,
    ranks: Both[Ranks],
    text_image: npt.NDArray[np.int64],
    rule: Rule,
    asked: Asked,
    clusters: npt.ArrayLike | None = None,
) -> list[Comparison]:
    """The mean recall, and every recall with Holm's correction for all of them.

    Args:
        models: Names.
        ranks: Of every training of each.
        text_image: ``(T,)`` row of the image that each text describes.
        rule: What decides.
        asked: The words of the questions.
        clusters: ``(N,)`` the group of each image.
    """
    queries, texts = ranks[0][0].images, ranks[0][0].texts
    own = numbered(clusters, len(ranks[0][0].i2t))

    def mean_recall(of_training: Ranks) -> Statistic:
        statistic = summary_statistic(of_training, text_image)
        return lambda weights: statistic(weights)[-1:]

    figures = _each(mean_recall, ranks)
    values, found = resampled_difference(*figures, len(queries), rule.resamples, rule.seed, own[queries])
    question = Question(SKILL, asked.skill, "mean recall", *models)
    whole = compare_metrics([question], values, found, len(queries), rule, _trainings(ranks))

    def hits(
        model: Sequence[Ranks], direction: str, rows: npt.NDArray[np.int64], k: int
    ) -> npt.NDArray[np.bool_]:
        return np.stack([getattr(one, direction)[rows] < k for one in model])

    asks = (
        ("i2t", "image to text", "a caption of an image", queries, own[queries]),
        ("t2i", "text to image", "the image of a caption", texts, own[text_image[texts]]),
    )
    recalls = [
        compare_shares(
            Question(
                f"recall {direction} {k}",
                f"Which model finds {what} among the first {k}?",
                f"{label} R@{k}",
                *models,
            ),
            hits(ranks[0], direction, rows, k),
            hits(ranks[1], direction, rows, k),
            rule,
            photo,
        )
        for direction, label, what, rows, photo in asks
        for k in RECALLS
    ]
    return [*whole, *corrected(recalls, rule)]

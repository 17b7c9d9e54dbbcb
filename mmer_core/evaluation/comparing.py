"""Two models on the same split: which one is better, decided on the same samples."""

from collections.abc import Sequence
from typing import Any, NamedTuple

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
from mmer_core.statistics.resampling import Statistic, resampled

SKILL = "skill"
"""Topic of the comparison by the headline metric."""
ABLATION = "ablation "
"""How the topic of the same comparison with a further family begins."""

CATEGORY = "category "
"""How topics of comparisons about one category begin."""

Models = tuple[str, str]


class Asked(NamedTuple):
    """Words of questions: the one about the headline metric, and a plural noun for the samples."""

    skill: str
    samples: str


def compare_emotions(
    models: Models,
    scores: tuple[npt.ArrayLike, npt.ArrayLike],
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
        scores: ``(N, C)`` of each.
        labels: ``(N, C)`` 0/1.
        names: ``C`` of them.
        rule: What decides.
        asked: The words of the questions.
        clusters: ``(N,)`` the photo, or group, of each sample.

    Raises:
        ValueError: NaN, or shapes that do not fit.
    """
    truth = np.asarray(labels)
    rankings = [
        [SortedScores(np.asarray(one)[:, c], truth[:, c]) for c in range(truth.shape[1])] for one in scores
    ]

    def figures(weights: FloatArray) -> FloatArray:
        ap = 100 * np.stack([[one.average_precision(weights) for one in model] for model in rankings])
        return np.concatenate(
            [np.stack([mean_where(one, ~np.isnan(one)) for one in ap])[:, None], ap], axis=1
        )

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
    return _whole_and_each(figures, questions, truth, rule, clusters)


def compare_classes(
    models: Models,
    scores: tuple[npt.ArrayLike, npt.ArrayLike],
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
        scores: ``(N, C)`` of each.
        labels: ``(N, C)`` 0/1, exactly one 1 in each row.
        names: ``C`` of them.
        rule: What decides.
        asked: The words of the questions.
        clusters: ``(N,)`` the photo, or group, of each sample.
    """
    marked = np.asarray(labels)
    truth = marked.argmax(axis=1)
    predicted = [np.asarray(one).argmax(axis=1) for one in scores]

    def figures(weights: FloatArray) -> FloatArray:
        counts = [class_counts(one, truth, len(names), weights) for one in predicted]
        return 100 * np.stack([np.concatenate([one.macro_f1[None], one.f1]) for one in counts])

    questions = [Question(SKILL, asked.skill, "macro-F1", *models)]
    questions += [
        Question(f"{CATEGORY}{name}", f"Which model recognises {name} better?", f"F1 of {name}", *models)
        for name in names
    ]
    whole, *each = _whole_and_each(figures, questions, marked, rule, clusters, counted=True)
    one, other = (guess == truth for guess in predicted)
    question = Question("accuracy", "Which model is right more often?", "accuracy", *models)
    return [whole, compare_shares(question, one, other, rule, clusters), *each]


def _whole_and_each(
    figures: Statistic,
    questions: Sequence[Question],
    labels: npt.NDArray[Any],
    rule: Rule,
    clusters: npt.ArrayLike | None,
    *,
    counted: bool = False,
) -> list[Comparison]:
    """A metric, and what it is the mean of, category by category.

    Args:
        figures: ``weights (N, R) -> (2, 1 + C, R)`` in percent: of both models the metric and its parts.
        questions: ``1 + C`` of them.
        labels: ``(N, C)`` 0/1.
        counted: The figures are of counts, so that two models may show no difference at all in a small sample.
    """

    def difference(weights: FloatArray) -> FloatArray:
        first, second = figures(weights)
        return first - second

    values = figures(np.ones((len(labels), 1)))[:, :, 0]
    found = resampled(difference, len(labels), rule.resamples, rule.seed, clusters)
    rests_on = np.append(found.clusters, clusters_with(labels, clusters))
    found = found.resting_on(rests_on)
    if counted:
        found = found.with_least_error(100 / (rests_on + 1))
    whole, *each = compare_metrics(questions, values, found, len(labels), rule)
    return [whole, *corrected(each, rule)]


def compare_retrieval(
    models: Models,
    ranks: tuple[Ranks, Ranks],
    text_image: npt.NDArray[np.int64],
    rule: Rule,
    asked: Asked,
    clusters: npt.ArrayLike | None = None,
) -> list[Comparison]:
    """The mean recall, and every recall with Holm's correction for all of them.

    Args:
        models: Names.
        ranks: Of each.
        text_image: ``(T,)`` row of the image that each text describes.
        rule: What decides.
        asked: The words of the questions.
        clusters: ``(N,)`` the group of each image.
    """
    first, second = ranks
    queries = np.flatnonzero(first.i2t >= 0)
    own = numbered(clusters, len(first.i2t))
    one, other = (summary_statistic(each, text_image) for each in ranks)
    everyone = np.ones((len(queries), 1))
    found = resampled(
        lambda weights: one(weights)[-1:] - other(weights)[-1:],
        len(queries),
        rule.resamples,
        rule.seed,
        own[queries],
    )
    whole = compare_metrics(
        [Question(SKILL, asked.skill, "mean recall", *models)],
        [one(everyone)[-1], other(everyone)[-1]],
        found,
        len(queries),
        rule,
    )
    recalls = [
        compare_shares(
            Question(
                f"recall {direction} {k}",
                f"Which model finds {what} among the first {k}?",
                f"{label} R@{k}",
                *models,
            ),
            mine < k,
            theirs < k,
            rule,
            photo,
        )
        for direction, label, what, mine, theirs, photo in (
            (
                "i2t",
                "image to text",
                "a caption of an image",
                first.i2t[queries],
                second.i2t[queries],
                own[queries],
            ),
            ("t2i", "text to image", "the image of a caption", first.t2i, second.t2i, own[text_image]),
        )
        for k in RECALLS
    ]
    return [*whole, *corrected(recalls, rule)]

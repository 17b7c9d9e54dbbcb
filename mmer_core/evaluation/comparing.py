"""Two models on the same split: which one is better, decided on the same samples."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmer_core.evaluation.arrays import FloatArray, mean_where
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
from mmer_core.statistics.resampling import resampled

SKILL = "skill"
"""Topic of the comparison by the headline metric."""
ABLATION = "ablation "
"""How the topic of the same comparison with a further family begins."""

Models = tuple[str, str]


def compare_emotions(
    models: Models,
    scores: tuple[npt.ArrayLike, npt.ArrayLike],
    labels: npt.ArrayLike,
    names: Sequence[str],
    rule: Rule,
    clusters: npt.ArrayLike | None = None,
) -> list[Comparison]:
    """The mAP, and the AP of every emotion with Holm's correction for all of them; no test for an emotion with fewer than
    `mmer_core.statistics.resampling.FEWEST` photos.

    Args:
        models: Names.
        scores: ``(N, C)`` of each.
        labels: ``(N, C)`` 0/1.
        names: ``C`` of them.
        rule: What decides.
        clusters: ``(N,)`` the photo, or group, of each person.

    Raises:
        ValueError: NaN, or shapes that do not fit.
    """
    truth = np.asarray(labels)
    rankings = [
        [SortedScores(np.asarray(one)[:, c], truth[:, c]) for c in range(truth.shape[1])] for one in scores
    ]

    def figures(weights: FloatArray) -> FloatArray:
        """``(2, 1 + C, R)``: mAP and APs in percent."""
        ap = 100 * np.stack([[one.average_precision(weights) for one in model] for model in rankings])
        return np.concatenate(
            [np.stack([mean_where(one, ~np.isnan(one)) for one in ap])[:, None], ap], axis=1
        )

    def difference(weights: FloatArray) -> FloatArray:
        first, second = figures(weights)
        return first - second

    values = figures(np.ones((len(truth), 1)))[:, :, 0]
    found = resampled(difference, len(truth), rule.resamples, rule.seed, clusters)
    found = found.resting_on(np.append(found.clusters, clusters_with(truth, clusters)))
    questions = [Question(SKILL, "Which model reads emotion better?", "mAP", *models)]
    questions += [
        Question(f"emotion {name}", f"Which model ranks people by {name} better?", f"AP of {name}", *models)
        for name in names
    ]
    whole, *each = compare_metrics(questions, values, found, len(truth), rule)
    return [whole, *corrected(each, rule)]


def compare_retrieval(
    models: Models,
    ranks: tuple[Ranks, Ranks],
    text_image: npt.NDArray[np.int64],
    rule: Rule,
    clusters: npt.ArrayLike | None = None,
) -> list[Comparison]:
    """The mean recall, and every recall with Holm's correction for all of them.

    Args:
        models: Names.
        ranks: Of each.
        text_image: ``(T,)`` row of the image that each text describes.
        rule: What decides.
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
        [Question(SKILL, "Which model matches images and text better?", "mean recall", *models)],
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

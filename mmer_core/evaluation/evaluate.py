"""One model on one split: every metric with its interval, beside what no skill at all would score."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmer_core.config import EvaluationConfig
from mmer_core.evaluation.arrays import FloatArray, finite, mean_where, scores_and_labels
from mmer_core.evaluation.emotion_metrics import (
    SortedScores,
    absolute_errors,
    precision_recall_f1,
)
from mmer_core.evaluation.record import CategoryFigures, DimensionFigures, EvaluationRecord
from mmer_core.evaluation.retrieval_metrics import (
    METRICS,
    RECALLS,
    Ranks,
    chance_retrieval,
    retrieval_metrics,
    similarity_ranks,
)
from mmer_core.record import Interval
from mmer_core.statistics.clusters import clusters_with, numbered
from mmer_core.statistics.resampling import Statistic, resampled
from mmer_core.statistics.shares import mean_interval, share_interval
from mmer_core.taxonomy import VAD


def evaluate_emotion(
    probabilities: npt.ArrayLike,
    vad: npt.ArrayLike,
    labels: npt.ArrayLike,
    ratings: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    names: Sequence[str],
    config: EvaluationConfig,
    dimensions: Sequence[str] = VAD,
    clusters: npt.ArrayLike | None = None,
) -> EvaluationRecord:
    """Metrics of an emotion model.

    Macro means run over the categories that have a positive; what is not defined is None.

    Baselines: that of ``map`` is the mean prevalence, which is the mAP of a constant score; that of
    ``vad_mae`` is the error of the best constant per dimension, the median of the *evaluated* ratings, so it
    is at least as hard to beat as any constant chosen on train.

    Args:
        probabilities: ``(N, C)``, calibrated.
        vad: ``(N, V)`` predicted ratings.
        labels: ``(N, C)`` 0/1.
        ratings: ``(N, V)``.
        thresholds: ``(C,)``, chosen on validation data.
        names: ``C`` names of the categories.
        config: Resamples, confidence and seed of the intervals; what is drawn are clusters.
        dimensions: ``V`` names of the continuous dimensions; without any, errors are not reported.
        clusters: ``(N,)`` the photo, or group, of each person; each their own when left out.

    Raises:
        ValueError: NaN, or shapes or names that do not fit.
    """
    scores, truth = scores_and_labels(probabilities, labels, 2)
    errors = absolute_errors(vad, ratings)
    threshold = finite("thresholds", thresholds, 1)
    _check_names(scores, errors, names, dimensions)
    statistic = _emotion_statistic(scores, truth, errors, threshold)
    found = resampled(statistic, len(scores), config.resamples, config.seed, clusters)
    macro = ("map", "precision_macro", "recall_macro", "f1_macro", *(("vad_mae",) if dimensions else ()))
    most = [100.0] * 4 + [np.inf] * (len(macro) - 4) + [100.0] * len(names) + [np.inf] * len(dimensions)
    rests_on = np.full(len(most), found.clusters)
    rests_on[len(macro) : len(macro) + len(names)] = clusters_with(truth, clusters)
    intervals = iter(found.resting_on(rests_on).intervals(config.confidence, 0, most))
    metrics = {name: next(intervals) for name in macro}
    ap = [next(intervals) for _ in names]
    mae = [next(intervals) for _ in dimensions]
    detection = precision_recall_f1(scores, truth, threshold)
    accuracy = ((scores >= threshold) == truth).mean(axis=0)
    prevalence = truth.mean(axis=0)
    constants = np.median(finite("ratings", ratings, 2), axis=0)
    constant_mae = absolute_errors(np.broadcast_to(constants, errors.shape), ratings).mean(axis=0)
    baselines = {"map": 100 * mean_where(prevalence, prevalence > 0)}
    if dimensions:
        baselines["vad_mae"] = constant_mae.mean()
    return EvaluationRecord(
        task="emotion",
        split=config.split,
        n=len(scores),
        clusters=found.clusters,
        metrics=metrics,
        baselines=baselines,
        per_category=tuple(
            CategoryFigures(
                name=name,
                ap=ap[c],
                precision=100 * detection.precision[c],
                recall=100 * detection.recall[c],
                f1=100 * detection.f1[c],
                accuracy=100 * accuracy[c],
                threshold=threshold[c],
                prevalence=100 * prevalence[c],
            )
            for c, name in enumerate(names)
        ),
        vad=tuple(
            DimensionFigures(name=name, mae=mae[v], constant=constant_mae[v], constant_rating=constants[v])
            for v, name in enumerate(dimensions)
        ),
    )


def evaluate_retrieval(
    image_emb: npt.ArrayLike,
    text_emb: npt.ArrayLike,
    text_image: npt.ArrayLike,
    config: EvaluationConfig,
    clusters: npt.ArrayLike | None = None,
) -> EvaluationRecord:
    """Metrics of an image-text model beside the exact expectation of random ranking; median ranks count from 1.

    What is drawn are images, or groups of them, with their captions; the gallery stays whole, so the intervals
    say how the figures depend on the queries that were drawn. Images without texts are no queries; of a large split a
    sample of the images is asked for, with their texts.

    Args:
        image_emb: ``(N, D)``.
        text_emb: ``(T, D)``.
        text_image: ``(T,)`` row of the image that each text describes.
        config: Resamples, confidence and seed of the intervals.
        clusters: ``(N,)`` the group of each image; each its own when left out.

    Raises:
        ValueError: NaN, or shapes that do not fit.
    """
    ranks = similarity_ranks(image_emb, text_emb, text_image)
    owner = np.asarray(text_image, dtype=np.int64)
    texts_per_image = np.bincount(owner, minlength=len(ranks.i2t))
    return EvaluationRecord(
        task="retrieval",
        split=config.split,
        n=len(ranks.i2t),
        clusters=int(numbered(clusters, len(ranks.i2t)).max()) + 1,
        n_texts=len(ranks.t2i),
        queries=len(ranks.images),
        text_queries=len(ranks.texts),
        metrics=retrieval_intervals(ranks, owner, config, clusters),
        baselines=dict(chance_retrieval(len(ranks.i2t), texts_per_image)),
    )


def retrieval_intervals(
    ranks: Ranks,
    text_image: npt.NDArray[np.int64],
    config: EvaluationConfig,
    clusters: npt.ArrayLike | None = None,
) -> dict[str, Interval]:
    """Each metric of `retrieval_metrics` with its interval: Wilson's for recalls, which are shares of queries."""
    own = numbered(clusters, len(ranks.i2t))
    queries, texts = ranks.images, ranks.texts
    exact = retrieval_metrics(ranks)
    summaries = [name for name in METRICS if not name.startswith(("i2t_r", "t2i_r"))]
    statistic = summary_statistic(ranks, text_image)
    found = resampled(statistic, len(queries), config.resamples, config.seed, own[queries])
    intervals = dict(zip(summaries, found.intervals(config.confidence, 1), strict=True))
    intervals["mean_recall"] = mean_interval(
        exact["mean_recall"] / 100, found.error[-1] / 100, found.clusters, config.confidence
    )
    for direction, rank, photo in (
        ("i2t", ranks.i2t[queries], own[queries]),
        ("t2i", ranks.t2i[texts], own[text_image[texts]]),
    ):
        for k in RECALLS:
            intervals[f"{direction}_r{k}"] = share_interval(rank < k, config.confidence, photo)
    return {name: Interval(exact[name], intervals[name].low, intervals[name].high) for name in METRICS}


def summary_statistic(ranks: Ranks, text_image: npt.NDArray[np.int64]) -> Statistic:
    """``weights (queries, R) -> (3, R)``: median rank of images and of texts, and the mean recall in percent."""
    queries, texts = ranks.images, ranks.texts
    position = np.full(len(ranks.i2t), -1)
    position[queries] = np.arange(len(queries))
    image_of_text = position[text_image[texts]]  # row among the queries, of each text that is one

    def statistic(weights: FloatArray) -> FloatArray:
        i2t = _weighted_ranks(ranks.i2t[queries], weights)
        t2i = _weighted_ranks(ranks.t2i[texts], weights[image_of_text])
        return np.stack([i2t[-1], t2i[-1], np.concatenate([i2t[:-1], t2i[:-1]]).mean(axis=0)])

    return statistic


def _emotion_statistic(
    scores: FloatArray, truth: npt.NDArray[np.bool_], errors: FloatArray, threshold: FloatArray
) -> Statistic:
    """``weights (N, R) -> (4 + C, R)``: macro metrics, AP by category; with ratings ``(5 + C + V, R)``,
    the mean error after the macro metrics and that of each dimension at the end."""
    rankings = [SortedScores(scores[:, c], truth[:, c]) for c in range(scores.shape[1])]

    def statistic(weights: FloatArray) -> FloatArray:
        ap = 100 * np.stack([ranking.average_precision(weights) for ranking in rankings])  # (C, R)
        present = ~np.isnan(ap)  # a category without a positive in a resample counts for no macro mean
        detection = precision_recall_f1(scores, truth, threshold, weights)
        mae = errors.T @ weights / weights.sum(axis=0)  # (V, R)
        macro = [mean_where(ap, present), *(mean_where(100 * values, present) for values in detection)]
        if len(mae):
            macro.append(mae.mean(axis=0))
        return np.concatenate([np.stack(macro), ap, mae])

    return statistic


def _weighted_ranks(ranks: npt.NDArray[np.int64], weights: FloatArray) -> FloatArray:
    """``(len(RECALLS) + 1, R)``: recalls in percent and the median rank, each rank repeated by its weight."""
    total = weights.sum(axis=0)
    recalls = [100 * (ranks < k).astype(float) @ weights / total for k in RECALLS]
    order = np.argsort(ranks, kind="stable")
    reached = np.cumsum(weights[order], axis=0)
    # The 0-based positions of the one or two middle elements of the repeated, sorted ranks.
    middle = [np.floor((total - 1) / 2), np.floor(total / 2)]
    lower, upper = (ranks[order][(reached <= position).sum(axis=0)] for position in middle)
    return np.stack([*recalls, np.floor((lower + upper) / 2) + 1])


def _check_names(
    scores: FloatArray, errors: FloatArray, names: Sequence[str], dimensions: Sequence[str]
) -> None:
    if len(names) != scores.shape[1]:
        raise ValueError(f"{len(names)} names do not go with {scores.shape[1]} categories")
    if len(dimensions) != errors.shape[1]:
        raise ValueError(f"{len(dimensions)} names do not go with {errors.shape[1]} continuous dimensions")
    if len(errors) != len(scores):
        raise ValueError(f"ratings have {len(errors)} rows, but labels have {len(scores)}")

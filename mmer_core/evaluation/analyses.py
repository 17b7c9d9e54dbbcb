"""The analyses of a model's spaces, modalities and words, put together as an evaluation records them."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from mmer_core.config import EvaluationConfig
from mmer_core.evaluation.arrays import FloatArray, mean_where
from mmer_core.evaluation.embeddings import (
    alignment,
    compared,
    dimension_shares,
    diversity,
    effective_dimensionality,
    embedding_variance,
    linear_cka,
    mean_similarity,
    modality_gap,
    paired_similarity,
    rotated,
    uniformity,
)
from mmer_core.evaluation.emotion_metrics import SortedScores
from mmer_core.evaluation.neighbours import nearest, neighbour_shares, same_group_share
from mmer_core.evaluation.record import Analyses, DimensionShare, PairFigures, SpaceFigures
from mmer_core.record import Interval
from mmer_core.statistics.resampling import resampled

TOP_DIMENSIONS = 10
FEWEST = 3
"""Samples below which a space has no shape to speak of."""


def space_figures(name: str, embeddings: npt.ArrayLike, knn_map: Interval | None = None) -> SpaceFigures:
    """The figures of one space ``(N, D)``; ``knn_map`` where its rows have labels."""
    rows = np.asarray(embeddings)
    shares = dimension_shares(rows)
    top = [] if np.isnan(shares).any() else np.argsort(-shares, kind="stable")[:TOP_DIMENSIONS].tolist()
    return SpaceFigures(
        name=name,
        n=len(rows),
        compared=len(compared(len(rows))),
        dimensions=rows.shape[1],
        effective_dimensionality=effective_dimensionality(rows),
        variance=embedding_variance(rows),
        mean_similarity=mean_similarity(rows),
        uniformity=uniformity(rows),
        knn_map=knn_map,
        top_dimensions=tuple(DimensionShare(dimension=one, share=shares[one]) for one in top),
        diversity=diversity(shares),
        rotated_diversity=diversity(dimension_shares(rotated(rows))),
    )


def label_separability(
    embeddings: npt.ArrayLike,
    labels: npt.ArrayLike,
    config: EvaluationConfig,
    clusters: npt.ArrayLike | None = None,
) -> Interval:
    """mAP in percent, with its interval, of the labels of each row's nearest neighbours.

    Neighbours are found once, among all rows; the interval is over the rows that are `compared`.

    Args:
        embeddings: ``(N, D)``.
        labels: ``(N, C)`` 0/1.
        config: Resamples, confidence and seed of the interval.
        clusters: ``(N,)`` the photo, or group, of each row.
    """
    asked = compared(len(np.asarray(labels)))
    shares = neighbour_shares(nearest(embeddings, asked=asked), labels, asked)
    truth = np.asarray(labels)[asked]
    clusters = None if clusters is None else np.asarray(clusters)[asked]
    rankings = [SortedScores(shares[:, c], truth[:, c]) for c in range(truth.shape[1])]

    def statistic(weights: FloatArray) -> FloatArray:
        ap = 100 * np.stack([ranking.average_precision(weights) for ranking in rankings])  # (C, R)
        return mean_where(ap, ~np.isnan(ap))[None]

    found = resampled(statistic, len(shares), config.resamples, config.seed, clusters)
    return found.intervals(config.confidence, 0, 100)[0]


def pair_figures(
    first: tuple[str, npt.ArrayLike], second: tuple[str, npt.ArrayLike], *, shared: bool
) -> PairFigures:
    """How two named modalities ``(N, D)`` of the same ``N`` samples lie to each other.

    Args:
        shared: They live in one space. Distances between points of different spaces mean nothing, so for
            others there is only ``cka``, which needs no common space.
    """
    (one, x), (two, y) = (first[0], np.asarray(first[1])), (second[0], np.asarray(second[1]))
    if not shared:
        return PairFigures(first=one, second=two, cka=linear_cka(x, y))
    both, asked = np.concatenate([x, y]), compared(2 * len(x))
    own, mixed = same_group_share(nearest(both, asked=asked), np.repeat([0, 1], len(x)), asked)
    return PairFigures(
        first=one,
        second=two,
        cka=linear_cka(x, y),
        paired_similarity=paired_similarity(x, y),
        alignment=alignment(x, y),
        modality_gap=modality_gap(x, y),
        compared=len(asked),
        own_neighbours=own,
        own_neighbours_mixed=mixed,
    )


def emotion_spaces(
    embeddings: Mapping[str, npt.ArrayLike],
    labels: npt.ArrayLike,
    config: EvaluationConfig,
    *,
    shared: bool,
    clusters: npt.ArrayLike | None = None,
) -> Analyses:
    """``spaces`` and ``pairs`` of an emotion model's streams.

    Args:
        embeddings: By stream, ``(N, D)``, at least `FEWEST` rows.
        labels: ``(N, C)`` 0/1.
        shared: All streams live in one space.
        clusters: ``(N,)`` the photo, or group, of each row.
    """
    spaces = dict(embeddings)
    if shared and len(spaces) > 1:
        spaces["mean of the streams"] = np.mean([np.asarray(rows) for rows in embeddings.values()], axis=0)
    return Analyses(
        spaces=tuple(
            space_figures(name, rows, label_separability(rows, labels, config, clusters))
            for name, rows in spaces.items()
        ),
        pairs=tuple(pair_figures(*pair, shared=shared) for pair in combinations(embeddings.items(), 2)),
    )


def retrieval_spaces(
    images: npt.ArrayLike,
    texts: npt.ArrayLike,
    text_image: npt.ArrayLike,
    others: Mapping[str, npt.ArrayLike],
) -> Analyses:
    """``spaces`` and ``pairs`` of an image-text model.

    A pair is an image with the first of its texts, so that both modalities have as many points.

    Args:
        images: ``(N, D)``, at least `FEWEST` of them with a text.
        texts: ``(T, D)``.
        text_image: ``(T,)`` row of each text's image.
        others: Further spaces by name, ``(N, D)``.
    """
    image, text = np.asarray(images), np.asarray(texts)
    described, first_text = np.unique(np.asarray(text_image), return_index=True)
    pair = (("image", image[described]), ("text", text[first_text]))
    spaces: Sequence[tuple[str, npt.ArrayLike]] = [("image", image), ("text", text), *others.items()]
    return Analyses(
        spaces=tuple(space_figures(name, rows) for name, rows in spaces),
        pairs=(pair_figures(*pair, shared=True),),
    )

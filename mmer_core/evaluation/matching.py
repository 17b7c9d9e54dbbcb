"""Matching of images and texts beyond the usual protocol: of people with texts, and of photos by image and caption together."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mmer_core.config import EvaluationConfig
from mmer_core.evaluation.arrays import FloatArray
from mmer_core.evaluation.contribution import coalitions, shapley
from mmer_core.evaluation.embeddings import compared, unit_rows
from mmer_core.evaluation.evaluate import retrieval_intervals
from mmer_core.evaluation.record import Contribution, Matching, StreamContribution
from mmer_core.evaluation.retrieval_metrics import RECALLS, chance_retrieval, similarity_ranks
from mmer_core.record import Interval
from mmer_core.statistics.clusters import connected
from mmer_core.statistics.resampling import resampled

T = TypeVar("T")
FEWEST_PHOTOS = 3
"""Photos with two captions below which nothing is said of what modalities add."""


def match_people(
    images: npt.ArrayLike,
    texts: npt.ArrayLike,
    names: Sequence[str],
    config: EvaluationConfig,
    clusters: npt.ArrayLike | None = None,
) -> Matching | None:
    """Recall at 1, 5 and 10 of people and their texts in one space, both directions.

    People may have the same text (a template, or the caption of a photo with several): the gallery holds each different
    text once, and a text finds any of its people. So it is the usual protocol with the directions exchanged, a text in
    the place of an image with several captions. Of more texts than `MOST_COMPARED`, so many ask, with their people.

    Args:
        images: ``(N, D)``.
        texts: ``(N, D)``; equal for people of one text.
        names: ``N`` texts.
        config: Resamples, confidence and seed of the intervals; what is drawn are groups of people that share a text or
            a photo.
        clusters: ``(N,)`` the photo, or group, of each person; each their own when left out.

    Returns:
        None where all have one text.
    """
    _, first, owner = np.unique(np.asarray(names, dtype=object), return_index=True, return_inverse=True)
    if len(first) < 2:
        return None
    ranks = similarity_ranks(np.asarray(texts)[first], images, owner)
    photos = np.arange(len(owner)) if clusters is None else np.asarray(clusters)
    together = connected(photos, owner)[first]
    found = retrieval_intervals(ranks, owner, config, together)
    chance = chance_retrieval(len(first), np.bincount(owner))
    return Matching(
        people=len(owner), texts=len(first), metrics=_exchanged(found), baselines=_exchanged(chance)
    )


def caption_contribution(
    images: npt.ArrayLike,
    texts: npt.ArrayLike,
    text_image: npt.ArrayLike,
    config: EvaluationConfig,
    clusters: npt.ArrayLike | None = None,
) -> Contribution | None:
    """What the image, and what the first caption of a photo add to finding its other captions, in percentage points.

    A photo asks by its image, by its first caption, or by the mean of both unit vectors, among the other captions of all
    photos. The worth of each is the mean of recall at 1, 5 and 10; of none, what chance would score. Of more photos than
    `MOST_COMPARED`, so many ask.

    Args:
        images: ``(N, D)``.
        texts: ``(T, D)``.
        text_image: ``(T,)`` row of each text's image.
        config: Resamples, confidence and seed of the intervals; what is drawn are photos.
        clusters: ``(N,)`` the group of each photo; each its own when left out.

    Returns:
        None for fewer than `FEWEST_PHOTOS` photos with two captions.
    """
    image, text, owner = np.asarray(images), np.asarray(texts), np.asarray(text_image, dtype=np.int64)
    photos, first, counts = np.unique(owner, return_index=True, return_counts=True)
    photos, first = photos[counts > 1], first[counts > 1]
    if len(photos) < FEWEST_PHOTOS:
        return None
    others = np.setdiff1d(np.flatnonzero(np.isin(owner, photos)), first)
    place = np.searchsorted(photos, owner[others])
    alone = {"image": unit_rows(image[photos]), "text": unit_rows(text[first])}
    gallery = unit_rows(text[others])
    hits: dict[frozenset[str], FloatArray] = {}
    for members in coalitions(alone):
        queries = np.sum([alone[name] for name in sorted(members)], axis=0)
        ranks = similarity_ranks(queries, gallery, place)
        hits[members] = 100 * np.mean([ranks.i2t[ranks.images] < k for k in RECALLS], axis=0)  # (Q,)
    chance = chance_retrieval(len(photos), np.bincount(place))
    none = float(np.mean([chance[f"i2t_r{k}"] for k in RECALLS]))
    everything = frozenset(alone)

    def statistic(weights: FloatArray) -> FloatArray:
        """``weights (Q, R) -> (7, R)``: the worth of both, and of each modality alone, left out, and its share."""
        worth = {one: hit @ weights / weights.sum(axis=0) for one, hit in hits.items()}
        worth[frozenset()] = np.full(weights.shape[1], none)
        values = shapley(worth, list(alone))
        rows = [worth[everything]]
        for name in alone:
            rows += [worth[frozenset((name,))], worth[everything] - worth[everything - {name}], values[name]]
        return np.stack(rows)

    asked = compared(len(photos))  # as `similarity_ranks` draws them
    own = None if clusters is None else np.asarray(clusters)[photos[asked]]
    found = resampled(statistic, len(asked), config.resamples, config.seed, own)
    whole, *each = found.intervals(config.confidence)
    return Contribution(
        all=whole,
        none=Interval(none, none, none),
        streams=tuple(
            StreamContribution(
                name=name, alone=each[3 * row], left_out=each[3 * row + 1], shapley=each[3 * row + 2]
            )
            for row, name in enumerate(alone)
        ),
        leaders=(),
    )


def _exchanged(figures: Mapping[str, T]) -> dict[str, T]:
    """The same with the names of the two directions exchanged, in the usual order."""
    swap = {"i2t": "t2i", "t2i": "i2t"}
    return {name: figures[swap.get(name[:3], name[:3]) + name[3:]] for name in figures}

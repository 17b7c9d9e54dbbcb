"""Statistics of a prepared split for its dataset card."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.datasets.raw import PEOPLE
from mmer_core.taxonomy import VAD, VAD_RANGE

RATING_EDGES = tuple(np.arange(VAD_RANGE[0], VAD_RANGE[1] + 1, 1.0).tolist())
"""Edges of the unit bins of ratings: 1, 2, ..., 10; the last bin includes 10."""


@dataclass(frozen=True)
class SplitStatistics:
    """Statistics of one split; ``N`` samples, ``T`` texts, ``C`` categories.

    Attributes:
        samples: ``N``.
        photos: Distinct photos among the samples.
        texts: ``T``.
        categories: Number of samples with each label, in the dataset's order; empty without labels.
        labels_per_sample: Mean number of labels per sample; None without labels.
        ratings: Number of samples in each bin of `RATING_EDGES`, by dimension; empty if nothing is rated.
        people: ``Gender`` and ``Age`` to value to samples, without missing or empty columns.
        text_lengths: Number of texts by length in words (separated by white space), ascending.
    """

    samples: int
    photos: int
    texts: int
    categories: dict[str, int] = field(default_factory=dict)
    labels_per_sample: float | None = None
    ratings: dict[str, list[int]] = field(default_factory=dict)
    people: dict[str, dict[str, int]] = field(default_factory=dict)
    text_lengths: dict[int, int] = field(default_factory=dict)


def describe_split(split: PreparedSplit) -> SplitStatistics:
    """Compute the statistics of one split."""
    labelled = bool(split.card.labels)
    return SplitStatistics(
        samples=len(split),
        photos=len(
            set(
                zip(
                    *(
                        split.table[name][split.image_sample]
                        for name in ("Folder", "Filename")
                        if name in split.table
                    ),
                    strict=True,
                )
            )
        ),
        texts=len(split.texts),
        categories=_categories(split) if labelled else {},
        labels_per_sample=float(split.labels.sum(axis=1).mean()) if labelled else None,
        ratings=_ratings(split),
        people={
            name: counts for name in PEOPLE if name in split.table and (counts := _counts(split.table[name]))
        },
        text_lengths=dict(sorted(Counter(len(text.split()) for text in split.texts).items())),
    )


def _categories(split: PreparedSplit) -> dict[str, int]:
    carried = split.labels.sum(axis=0)
    return {label: int(count) for label, count in zip(split.card.labels, carried, strict=True)}


def _ratings(split: PreparedSplit) -> dict[str, list[int]]:
    return {
        name: np.histogram(split.vad[:, column], bins=RATING_EDGES)[0].tolist()
        for column, name in enumerate(VAD[: split.vad.shape[1]])
    }


def _counts(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, most frequent first; empty if no value is given at all."""
    counts = Counter(value or "not stated" for value in values)
    return {} if set(counts) == {"not stated"} else dict(counts.most_common())

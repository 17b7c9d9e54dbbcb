"""How to read each analysis, in one plain sentence; the definitions are in `mmer_core.evaluation`."""

from typing import NamedTuple

from mmer_core.evaluation.embeddings import MOST_COMPARED
from mmer_core.record import Interval, Part


class MetricGuide(NamedTuple):
    """A figure's field in its record, its name on the page, how to read it, its decimals, and whether in percent."""

    key: str
    label: str
    sentence: str
    digits: int = 2
    percent: bool = False

    def value(self, part: Part) -> Interval | float | None:
        """The figure of a part, as it is shown."""
        found: Interval | float | None = getattr(part, self.key)
        return 100 * found if self.percent and isinstance(found, float) else found


_COMPARED = f"In a space of more than {MOST_COMPARED:,} points, so many drawn ones are compared with all."

SPACE: tuple[MetricGuide, ...] = (
    MetricGuide("n", "embeddings", "How many there are.", 0),
    MetricGuide(
        "compared",
        "compared",
        f"How many of them are compared with all for uniformity and neighbours: all, or {MOST_COMPARED:,} that are drawn.",
        0,
    ),
    MetricGuide("dimensions", "width", "How many numbers one embedding has.", 0),
    MetricGuide(
        "effective_dimensionality",
        "effective dimensions",
        "How many principal components hold 95 % of the variance: far below the width, most of the space is idle.",
        0,
    ),
    MetricGuide(
        "variance",
        "variance",
        "How far unit vectors lie from their centre: 0 when all point the same way, 1 when they cancel out.",
    ),
    MetricGuide(
        "mean_similarity",
        "average similarity",
        "Mean cosine between two embeddings of different samples: the nearer to 1, the less the space distinguishes.",
    ),
    MetricGuide(
        "uniformity",
        "uniformity",
        "How evenly embeddings spread over the sphere: 0 is one point, about −4 is even; lower is better. "
        f"{_COMPARED}",
    ),
    MetricGuide(
        "knn_map",
        "neighbours’ mAP, %",
        "How well the ten nearest neighbours’ labels rank a sample’s own, beside chance in the first table: "
        f"what the space separates without any head. {_COMPARED}",
        1,
    ),
)
"""Figures of one space."""

PAIR: tuple[MetricGuide, ...] = (
    MetricGuide(
        "compared",
        "compared",
        f"For how many embeddings of both, neighbours are looked for among all: all, or {MOST_COMPARED:,} that are drawn.",
        0,
    ),
    MetricGuide(
        "paired_similarity",
        "similarity of pairs",
        "Mean cosine between the two modalities of one sample; compare with the average similarity above.",
    ),
    MetricGuide(
        "alignment",
        "alignment",
        "Mean squared distance between the two modalities of one sample: 0 is perfect, 2 is unrelated.",
    ),
    MetricGuide(
        "modality_gap",
        "modality gap",
        "Distance between the centres of the two modalities, 0 to 2: large when each keeps to its own corner.",
    ),
    MetricGuide(
        "own_neighbours",
        "neighbours of own modality, %",
        "Share of the ten nearest neighbours that are of the same modality: near 50 the two are mixed, at 100 they "
        f"are apart. {_COMPARED}",
        1,
        percent=True,
    ),
    MetricGuide(
        "cka",
        "CKA",
        "How alike both modalities arrange the samples, 0 to 1; it needs no common space, so it is defined for "
        "separate spaces too.",
    ),
)
"""Figures of two modalities of the same samples."""

CONTRIBUTION: tuple[MetricGuide, ...] = (
    MetricGuide(
        "alone", "alone", "Mean average precision in % when the model is given this modality only.", 1
    ),
    MetricGuide(
        "left_out",
        "lost without",
        "Points of mean average precision that the whole model loses without it: what only this modality knows.",
        1,
    ),
    MetricGuide(
        "shapley",
        "Shapley value",
        "Its fair share of the points above chance, what several modalities know divided among them; the shares add "
        "up to what the whole model gains over chance.",
        1,
    ),
)
"""Figures of one modality among others."""

AGREEMENT: tuple[MetricGuide, ...] = (
    MetricGuide(
        "spearman",
        "rank correlation",
        "Whether both modalities, each read alone, put the same samples first: 1 the same order, 0 unrelated; mean "
        "over categories.",
    ),
    MetricGuide(
        "kappa",
        "Cohen’s kappa",
        "Whether both decide the same, beyond what chance agreement gives: 1 always, 0 no more than chance; mean over "
        "categories.",
    ),
)
"""Figures of two modalities' answers."""

"""What an evaluation leaves in its ``metrics.json``, of a model for any task; what a task lacks is empty.

Shares and recalls are in percent, errors in the ratings' unit, thresholds are probabilities.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import Field

from mmer_core.config import Family, Split
from mmer_core.record import Figures, Interval, Number, Part, Record
from mmer_core.store import Manifest

METRICS_FILE = "metrics.json"
"""Of an artifact ``evaluation``, with its `EvaluationRecord`."""


class CalibrationBin(Part):
    """A point of a reliability diagram: mean probability and share that is true of ``n`` predictions, in 0..1."""

    n: int
    probability: float
    share: float


class CalibrationFigures(Part):
    """How far probabilities are what they say; see `mmer_core.evaluation.calibration_error`. All in 0..1."""

    error: Number
    brier: Number
    bins: tuple[CalibrationBin, ...] = ()


class Calibration(Part):
    """Of all categories together, before and after calibration.

    Attributes:
        fitted_on: Split that calibration and thresholds were fitted on; None where they were not fitted.
    """

    before: CalibrationFigures
    after: CalibrationFigures
    fitted_on: Split | None


class CategoryFigures(Part):
    """One category; ``prevalence`` is the average precision of a constant score.

    ``accuracy`` counts samples that are rightly not predicted, too, so that never predicting it scores 100 less the
    prevalence. The interval of ``ap`` has no ends for positives in fewer photos than
    `mmer_core.statistics.resampling.FEWEST`.
    """

    name: str
    ap: Interval
    precision: Number
    recall: Number
    f1: Number
    accuracy: Number = None
    threshold: Number
    prevalence: float


class DimensionFigures(Part):
    """Mean absolute error of one continuous dimension, beside that of the best constant and its rating."""

    name: str
    mae: Interval
    constant: Number
    constant_rating: Number


class StreamFigures(Part):
    """The model read from one stream alone; ``ap`` has one figure for each category."""

    map: Interval
    vad_mae: Interval | None = None
    ap: tuple[Number, ...]


class DimensionShare(Part):
    """A coordinate of embeddings, from 0, and its share of their variance in 0..1."""

    dimension: int
    share: float


class SpaceFigures(Part):
    """One embedding space; see `mmer_core.evaluation.embeddings` for each figure.

    Attributes:
        compared: Rows that were compared with all of them, where each is compared with others.
        knn_map: mAP of the labels of each row's nearest neighbours, where there are labels.
        top_dimensions: The ten coordinates with the largest shares.
        diversity: How evenly all coordinates share the variance, in 0..1; None for a space collapsed to one point.
        rotated_diversity: The same after a random rotation.
    """

    name: str
    n: int
    compared: int | None = None
    dimensions: int
    effective_dimensionality: int
    variance: float
    mean_similarity: float
    uniformity: float
    knn_map: Interval | None = None
    top_dimensions: tuple[DimensionShare, ...] = ()
    diversity: Number = None
    rotated_diversity: Number = None


class PairFigures(Part):
    """Two modalities of the same samples; in different spaces only ``cka`` is defined.

    Attributes:
        compared: Points of both whose neighbours were looked for, where they were.
    """

    first: str
    second: str
    cka: Number
    paired_similarity: Number = None
    alignment: Number = None
    modality_gap: Number = None
    compared: int | None = None
    own_neighbours: Number = None
    own_neighbours_mixed: Number = None


class StreamContribution(Part):
    """What one stream adds to the mAP.

    Attributes:
        alone: mAP of this stream only.
        left_out: How far the mAP falls without it: its unique part.
        shapley: Its fair share, shared knowledge divided among the streams that hold it.
    """

    name: str
    alone: Interval
    left_out: Interval
    shapley: Interval


class Leader(Part):
    """The stream that ranks a category best and, of two or more, the second best and the lead in AP between them, with
    the p-value of no lead after Holm's correction for all categories."""

    name: str
    best: str
    second: str | None = None
    lead: Interval | None = None
    p: Number = None


class Contribution(Part):
    """mAP of all streams and of none (the mean prevalence), and what each stream adds."""

    all: Interval
    none: Interval
    streams: tuple[StreamContribution, ...]
    leaders: tuple[Leader, ...]


class CategoryAgreement(Part):
    """Agreement on one category; None where it is not defined."""

    name: str
    spearman: Number
    kappa: Number


class StreamAgreement(Part):
    """How far two streams, each read alone, predict the same; means over the categories where it is defined."""

    first: str
    second: str
    spearman: Number
    kappa: Number
    per_category: tuple[CategoryAgreement, ...]


class WordSimilarity(Part):
    """Mean similarity of captions with a word to their own images, and of all other captions (``rest``); ``p`` of no
    difference, after Holm's correction for all words."""

    word: str
    texts: int
    mean: float
    rest: float
    difference: Interval
    p: Number = None


class Matching(Part):
    """Recalls and median ranks of people and their texts, beside chance; ``texts`` counts different ones."""

    people: int
    texts: int
    metrics: dict[str, Interval]
    baselines: dict[str, Number]


class Analyses(Part):
    """Figures of a model's spaces, modalities and words.

    Attributes:
        matching: Of labelled samples with texts in the space of their images.
        caption_contribution: What image and caption add to finding further captions, see `mmer_core.evaluation.matching`.
    """

    spaces: tuple[SpaceFigures, ...] = ()
    pairs: tuple[PairFigures, ...] = ()
    contribution: Contribution | None = None
    agreement: tuple[StreamAgreement, ...] = ()
    words: tuple[WordSimilarity, ...] = ()
    matching: Matching | None = None
    caption_contribution: Contribution | None = None


class UnmatchedLabels(Part):
    """Labels that only the model, or only the dataset, has."""

    only_model: tuple[str, ...] = ()
    only_dataset: tuple[str, ...] = ()


class EvaluationRecord(Record):
    """One model on one split.

    Attributes:
        n: Samples: people, or images.
        clusters: Photos, or groups, that they are from.
        n_texts: Texts, where they are queries of their own.
        queries: Images that were asked for where images and texts are matched: those with texts, or a sample of them.
        text_queries: Texts that were asked for: all, or those of the sampled images.
        metrics: By name.
        baselines: What no skill scores, by the name of the metric: chance, or the best constant.
        calibration: Of models that give probabilities.
        per_stream: By stream.
        confusion: Of a model that predicts exactly one category: how many samples of each (row) were predicted as each
            (column), in the order of ``per_category``.
    """

    version: Literal[3] = 3
    task: str
    split: Split
    n: int
    clusters: int
    n_texts: int | None = None
    queries: int | None = None
    text_queries: int | None = None
    unmatched_labels: UnmatchedLabels = UnmatchedLabels()
    metrics: dict[str, Interval]
    baselines: dict[str, Number]
    per_category: tuple[CategoryFigures, ...] = ()
    calibration: Calibration | None = None
    confusion: tuple[tuple[int, ...], ...] = ()
    vad: tuple[DimensionFigures, ...] = ()
    per_stream: dict[str, StreamFigures] = Field(default_factory=dict)
    analyses: Analyses = Analyses()

    def with_streams_called(self, names: Mapping[str, str]) -> Self:
        """The same with other names for some streams."""
        there = self.analyses
        contribution = there.contribution
        if contribution is not None:
            contribution = contribution.model_copy(
                update={
                    "streams": _called(names, contribution.streams, "name"),
                    "leaders": _called(names, contribution.leaders, "best", "second"),
                }
            )
        analyses = there.model_copy(
            update={
                "spaces": _called(names, there.spaces, "name"),
                "pairs": _called(names, there.pairs, "first", "second"),
                "contribution": contribution,
                "agreement": _called(names, there.agreement, "first", "second"),
            }
        )
        per_stream = {names.get(name, name): figures for name, figures in self.per_stream.items()}
        return self.model_copy(update={"per_stream": per_stream, "analyses": analyses})


def _called(names: Mapping[str, str], parts: Sequence[Part], *fields: str) -> tuple[Part, ...]:
    return tuple(
        part.model_copy(
            update={field: names.get(own, own) for field in fields if (own := getattr(part, field))}
        )
        for part in parts
    )


class EvaluationSummary(Figures):
    """The summary of an evaluation; its figures are the values of the metrics."""

    version: Literal[1] = 1
    split: Split
    family: Family
    dataset: str


def unread(evaluation: Manifest) -> str:
    """Of an evaluation that this version does not read, what to do."""
    return (
        f"{evaluation.key} was made by another version of mmer, in a form that this one does not read: measure the model "
        f"again with mmer evaluate --model {evaluation.inputs['model']}"
    )

"""What a report shows, as plain typed data: everything is computed before it gets here.

Shares are in percent, errors of valence/arousal/dominance in points of the 1..10 scale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mmer_core.attacks.record import CurvePoint, GroupSuccess, MarginPoint, RegionChanges, WorstCase
from mmer_core.config import Family
from mmer_core.datasets.prepared import DatasetSummary
from mmer_core.evaluation.record import Analyses, EvaluationRecord
from mmer_core.record import Interval, Record
from mmer_core.reporting.labels import FOOLED
from mmer_core.reporting.task_text import TaskText
from mmer_core.statistics.comparison import Comparison
from mmer_core.statistics.trainings import OverTrainings

R = TypeVar("R", bound=Record)
Picture = npt.NDArray[np.uint8]
Change = tuple[int, int, int, int, int]
"""One changed pixel: ``(y, x, red, green, blue)``, zero-based, colours in 0..255."""
MOST_LINES = 100
"""Lines on a map; more would hide its points."""


@dataclass(frozen=True)
class EmbeddingSpace:
    """One embedding space of a model, reduced to what a page can show.

    Attributes:
        name: For example ``"context"`` or ``"shared: image + text"``.
        points: ``(N, 2)`` t-SNE coordinates.
        groups: ``N`` names to colour by (dominant emotion, or modality).
        explained_variance: ``(M,)`` cumulative share in 0..1 of the first 1..M principal components.
        pairs: Rows of points that are joined by a line: modalities of one sample.
    """

    name: str
    points: npt.NDArray[np.floating[Any]]
    groups: Sequence[str]
    explained_variance: npt.NDArray[np.floating[Any]]
    pairs: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True)
class SimilarityMatrix:
    """Cosines of two modalities of some samples.

    Attributes:
        values: ``(n, n)``: row ``i`` is a sample in the first modality, column ``j`` one in the second.
        order: The order of the samples, in words.
        total: Samples of which these were drawn.
    """

    first: str
    second: str
    values: npt.NDArray[np.floating[Any]]
    order: str
    total: int


@dataclass(frozen=True)
class Fragility:
    """What attacks on a model found fragile, see `mmer_core.attacks.fragility`.

    Attributes:
        emotions: By dominant emotion of the clean image.
    """

    emotions: Sequence[GroupSuccess] = ()
    regions: Sequence[RegionChanges] = ()


@dataclass(frozen=True)
class QueryCurve:
    """Percent of the images fooled by number of queries, None where a budget ended before."""

    attack: str
    pixels: int
    queries: Sequence[int]
    success: Sequence[float | None]


@dataclass(frozen=True)
class FamilyView:
    """One model on one dataset, trained once or with several seeds.

    Attributes:
        evaluation: Means over trainings, where there are several.
        trainings: How many there are.
        spread: With several, every metric with its standard deviations from training to training and from one draw of
            images to another.
        history: One record an epoch: ``epoch`` and named figures (``train_*``, ``val_*``).
        best_epoch: The epoch whose weights were kept.
        curves: One point for each attack and K.
        by_queries: One curve for each attack and K.
        margins: What attacks leave of the clean margins, one point for each K.
        worst: All attacks together, for each K.
        attacked: Which pixels were attacked, in words.
    """

    family: Family
    evaluation: EvaluationRecord
    history: Sequence[Mapping[str, Any]] = ()
    best_epoch: int = 0
    curves: Sequence[CurvePoint] = ()
    by_queries: Sequence[QueryCurve] = ()
    attacked: str = ""
    spaces: Sequence[EmbeddingSpace] = ()
    similarities: Sequence[SimilarityMatrix] = ()
    fragility: Fragility | None = None
    margins: Sequence[MarginPoint] = ()
    worst: Sequence[WorstCase] = ()
    trainings: int = 1
    spread: Mapping[str, OverTrainings] = field(default_factory=dict)

    @property
    def analyses(self) -> Analyses:
        return self.evaluation.analyses


@dataclass(frozen=True)
class ModelFacts:
    """What a model is, and what it reached.

    Attributes:
        embedding: In words.
        fusion: How its streams become one prediction, in words; empty where none are fused.
        parameters: Learned numbers that its predictions need.
        best_epoch: The epoch whose weights were kept; 0 where nothing was trained.
        linear: Whether it predicts labels as the linear probe that it started from.
        settings: Learning rate, weight decay and dropout, in words.
        tries: How many settings were tried on val; 0 where nothing was trained.
        seconds: Its training took.
        headline: The metric by which its task is judged, in percent.
    """

    family: Family
    streams: Sequence[str]
    embedding: str
    fusion: str
    parameters: int
    best_epoch: int
    linear: bool
    settings: str
    tries: int
    seconds: float | None
    headline: Interval | float | None


@dataclass(frozen=True)
class StreamComparison:
    """Average precision in percent of every category, read from one modality at a time.

    ``ap[family][stream]`` holds one figure for each of the ``C`` categories; None for one that no sample shows.
    """

    categories: Sequence[str]
    ap: Mapping[str, Mapping[str, Sequence[float | None]]]


@dataclass(frozen=True)
class RetrievalExample:
    """A query, which is a text or an ``(H, W, 3)`` image, and its best results in order.

    ``results`` holds ``(image or text, score, correct)``.
    """

    family: str
    query_text: str | None = None
    query_image: Picture | None = None
    results: Sequence[tuple[Picture | str, float, bool]] = ()


@dataclass(frozen=True)
class CaptionWriter:
    """A model with a decoder: its kind, how many captions it follows at a time, and the weight of its loss in training."""

    family: Family
    decoder: str
    beam: int
    weight: float


@dataclass(frozen=True)
class CaptionedPhoto:
    """An ``(H, W, 3)`` photo with people's captions, and those that models wrote, by family."""

    image: Picture
    references: Sequence[str]
    written: Sequence[tuple[Family, str]]


@dataclass(frozen=True)
class Captions:
    """What decoders wrote for one split."""

    writers: Sequence[CaptionWriter]
    examples: Sequence[CaptionedPhoto]


@dataclass(frozen=True)
class AttackedImage:
    """One attacked image: ``image`` and ``attacked`` are ``(H, W, 3)`` and differ at ``changed`` only.

    ``file`` is True where they are the photo, and not an input of the model.
    """

    family: str
    attack: str
    pixels: int
    image: Picture
    attacked: Picture
    changed: Sequence[Change]
    before: str
    after: str
    queries: int
    sample: str
    file: bool = False


@dataclass(frozen=True)
class Transfer:
    """Successes of attacks on the model of one family, shown to that of another.

    ``curves`` holds one point for each attack and K: ``n`` successes were shown; ``already`` more fooled the other
    model without any changed pixel and are not counted.
    """

    source: Family
    target: Family
    curves: Sequence[CurvePoint]


@dataclass(frozen=True)
class Result:
    """What a further job found about a dataset or a model.

    Attributes:
        kind: Kind of the artifact.
        family: Of the model it is about; None if it is about the dataset.
        summary: The artifact's summary, as its manifest holds it.
    """

    kind: str
    family: Family | None
    summary: Mapping[str, Any]

    def summary_as(self, record: type[R]) -> R:
        """The summary as the record that its stage wrote. Raises `StoreError` when it is another."""
        return record.parse(self.summary, f"the summary of a {self.kind}")


@dataclass(frozen=True)
class DatasetView:
    """Everything about one dataset.

    Attributes:
        text: The words of its kind of task.
        leaks: How many images, texts or groups occur in two splits, by kind (see `mmer_core.datasets.leakage`).
        absent: How many samples have no image, in a sentence; empty where every sample has one.
        pictured: How many samples of a split have an image, where some have none.
        unattacked: Which samples no pixel attack could draw, in a sentence; empty where all could be.
        captions: Written ones, where models have decoders.
        results: What sections of other jobs show, see `mmer_core.reporting.sections.Section.results`.
        families: The models that the sections show and compare.
        models: All of its models, ablations among them.
        fooled: When an image counts as fooled, in words; empty for the usual criterion of the task.
        comparisons: Of its models with each other, and of attacks with the control.
    """

    name: str
    text: TaskText
    card: DatasetSummary
    families: Sequence[FamilyView]
    examples: Sequence[RetrievalExample] = ()
    captions: Captions | None = None
    gallery: Sequence[AttackedImage] = ()
    streams: StreamComparison | None = None
    leaks: Mapping[str, int] = field(default_factory=dict)
    absent: str = ""
    pictured: Mapping[str, int] = field(default_factory=dict)
    unattacked: str = ""
    fooled: str = ""
    transfers: Sequence[Transfer] = ()
    comparisons: Sequence[Comparison] = ()
    results: Sequence[Result] = ()
    models: Sequence[ModelFacts] = ()

    def compared(self, topic: str) -> Comparison | None:
        """The comparison about a topic, if it was made."""
        return next((one for one in self.comparisons if one.topic == topic), None)

    def found(self, kind: str) -> list[Result]:
        """The results of one kind."""
        return [one for one in self.results if one.kind == kind]

    @property
    def fooled_when(self) -> str:
        """When an image counts as fooled, in words."""
        return self.fooled or FOOLED[self.text.criterion].format(word=self.text.category)

    @property
    def unit(self) -> str:
        """What figures are of, in the plural."""
        return "samples" if self.absent else "images"

    @property
    def synthetic(self) -> bool:
        return self.card.synthetic

    @property
    def title(self) -> str:
        """Its name, which says once whether the data are synthetic."""
        marked = self.synthetic and "(synthetic)" not in self.name
        return f"{self.name} (synthetic)" if marked else self.name


@dataclass(frozen=True)
class ReportView:
    """The whole report.

    Attributes:
        created: Time of creation, as it is printed.
        key: Of the report.
        synthetic: True when any figure rests on photos that mmer drew itself.
        lineage: ``(label, artifact key)`` of everything that the report rests on.
        config_json: The configuration of the run.
        versions: Library versions by name.
    """

    title: str
    created: str
    synthetic: bool
    key: str
    store: str
    lineage: Sequence[tuple[str, str]]
    datasets: Sequence[DatasetView]
    config_json: str
    versions: Mapping[str, str]

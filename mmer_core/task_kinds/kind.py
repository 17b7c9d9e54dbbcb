"""What a kind of task must define, so that stages need not know which kinds exist."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from mmer_core.attacks.criteria import Criterion
from mmer_core.attacks.figures import Figures, accuracy_alone
from mmer_core.attacks.gallery import Gallery
from mmer_core.attacks.outcomes import Reading
from mmer_core.attacks.photo_victim import Photos, PhotoVictim, StreamHead
from mmer_core.attacks.victims import IncrementalVictim, Victim
from mmer_core.config import (
    EncoderConfig,
    EvaluationConfig,
    Family,
    FinetuneConfig,
    Fusion,
    ReportConfig,
    SearchConfig,
    TaskTraining,
)
from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.encoders import ImageEncoder, TextEncoder
from mmer_core.encoders.features import Features
from mmer_core.errors import ConfigError
from mmer_core.evaluation.record import EvaluationRecord, UnmatchedLabels
from mmer_core.heavy import Tensor, nn, pd, torch
from mmer_core.incremental.encoded import evaluator_of
from mmer_core.inference import TrainedModel
from mmer_core.models import ModelSpec
from mmer_core.named import Named
from mmer_core.poisoning.detectors.detector import Inspected
from mmer_core.poisoning.poison_set import PoisonSet
from mmer_core.reporting.task_text import TaskText
from mmer_core.reporting.view import (
    Captions,
    EmbeddingSpace,
    RetrievalExample,
    SimilarityMatrix,
    StreamComparison,
)
from mmer_core.statistics.comparison import Comparison, Rule
from mmer_core.task_kinds.measured import Measured
from mmer_core.training.learner import ModelLearner
from mmer_core.training.tuning import Tuner

D = TypeVar("D")


@dataclass(frozen=True)
class AttackedSplit:
    """Samples to attack, of which all but the attacked stream is stored features.

    Attributes:
        images: ``(n, H, W, 3)`` uint8 of the attacked stream at the encoder's input size, or the photos themselves.
        rows: ``(n,)`` the samples.
        gallery: Of the split, where the kind of task ranks.
    """

    trained: TrainedModel
    encoder: ImageEncoder
    split: PreparedSplit
    features: Features
    images: np.ndarray | Photos
    rows: np.ndarray
    gallery: Gallery | None

    def victim(self, stream: str, read: StreamHead) -> IncrementalVictim | PhotoVictim:
        """The victim of an attack on a stream, whose features ``read`` puts in place of the stored ones."""
        if isinstance(self.images, Photos):
            return PhotoVictim(self.images, self.trained.spec.sides, self.encoder, read)
        return IncrementalVictim(
            self.encoder, lambda seen, which: read({stream: seen}, which), evaluator_of(self.encoder)
        )

    def clean_scores(self, victim: IncrementalVictim | PhotoVictim) -> Tensor:
        """Scores ``(n, S)`` of the images as they are."""
        if isinstance(victim, PhotoVictim):
            return victim.clean_scores()
        assert isinstance(self.images, np.ndarray)
        return victim.scores(torch.from_numpy(self.images), torch.arange(len(self.rows)))


@dataclass(frozen=True)
class AttackedPhoto:
    """One photo to attack.

    Attributes:
        streams: Features of what the model reads of it, each ``(1, D)``.
        boxed: Whether a box was given.
        captions: Opens the last split of the model's dataset.
    """

    trained: TrainedModel
    streams: dict[str, Tensor]
    text: str | None
    boxed: bool
    captions: Callable[[], tuple[PreparedSplit, Features]]


@dataclass(frozen=True)
class PhotoScores:
    """A model's scores of one photo, for attacks on it.

    Attributes:
        read: Features of the attacked streams, each ``(B, D)``, to scores ``(B, S)``.
        names: Of the ``S`` columns.
        criterion: What counts as fooled, from the scores ``(1, S)`` of the clean photo.
        reading: What outcomes keep of the scores, for `TaskKind.before_and_after`.
    """

    read: Callable[[dict[str, Tensor]], Tensor]
    names: Sequence[str]
    criterion: Callable[[Tensor], Criterion]
    reading: Reading | None = None


@dataclass(frozen=True)
class Samples:
    """Samples of a split to decide about, of which all but one stream is stored features.

    Attributes:
        rows: ``(n,)`` the samples.
        gallery: Of the split, where the kind of task ranks.
    """

    trained: TrainedModel
    split: PreparedSplit
    features: Features
    rows: npt.NDArray[np.int64]
    gallery: Gallery | None


@dataclass(frozen=True)
class Decisions:
    """The one decision about each of some `Samples` that can be certified.

    Attributes:
        read: Features of some streams, each ``(B, D)``, and ``(B,)`` places among the samples to ``(B,)`` int64 decisions.
        right: Decisions ``(n,)`` about the samples to ``(n,)`` whether they are true.
        name: Of a decision.
    """

    read: Callable[[dict[str, Tensor], Tensor], Tensor]
    right: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.bool_]]
    name: Callable[[int], str]


class TaskKind(Named, ABC, Generic[D]):
    """One kind of task with the data ``D`` that its models learn from.

    Attributes:
        name: As datasets, models and evaluations state it.
        text: What reports say about it; its ``headline`` is the metric by which models are judged.
        schedule: Fields of the training configuration where the user left them open.
        families: Those that its models may be of.
        width: Default embedding width, of one head where there are several.
        dropout: Default dropout.
        fusion: Default fusion of the joint model, where it has one.
        has_heads: An embedding may consist of several heads.
        reads_parts: Models can read features of parts (``regions:`` and ``tokens:``).
        captioned: A model may have a decoder, which writes captions.
        searchable: A model embeds images and texts for an index.
        labelled: A model predicts labels of photos.
        ranks: Attacked images are ranked in the `gallery` of their split.
    """

    refusal = ConfigError
    text: ClassVar[TaskText]
    schedule: ClassVar[Mapping[str, Any]]
    families: ClassVar[tuple[Family, ...]]
    width: ClassVar[int]
    dropout: ClassVar[float]
    fusion: ClassVar[Fusion] = "mean"
    has_heads: ClassVar[bool] = False
    reads_parts: ClassVar[bool] = False
    captioned: ClassVar[bool] = False
    searchable: ClassVar[bool] = False
    labelled: ClassVar[bool] = False
    ranks: ClassVar[bool] = False

    def text_for(self, split: PreparedSplit) -> TaskText:
        """What reports say about its models on a dataset, given any split of that."""
        return self.text

    @abstractmethod
    def data(
        self,
        features: Features,
        split: PreparedSplit,
        poisons: PoisonSet | None = None,
        keep: npt.NDArray[np.bool_] | None = None,
        scratch: Path | None = None,
    ) -> D:
        """A split's features with its targets; with poisons in it, and only the samples to ``keep`` ``(N,)``.

        Args:
            scratch: Features stay on disk, for a training; the folder is for what is computed of all of them.
        """

    @abstractmethod
    def outputs(self, split: PreparedSplit, data: D, family: Family) -> dict[str, tuple[str, ...]]:
        """The fields of a `ModelSpec` that name what a model of the training split predicts."""

    @abstractmethod
    def learner(
        self, network: nn.Module, train: D, val: D, settings: TaskTraining, like: Any = None
    ) -> ModelLearner:
        """A fresh network with its objectives; what is fitted once for all tries is that of ``like``, the learner of
        another one."""

    def start_from_towers(
        self, network: nn.Module, towers: tuple[str, str], temperature: float | None
    ) -> None:
        """Let a fresh network embed as the dual encoder of these towers does. Raises `ConfigError` if it cannot."""
        raise ConfigError(
            "only the joint model of a captioned dataset can start from zero-shot; use model.start random"
        )

    def calibrate(self, network: nn.Module, spec: ModelSpec, val: D | None, folder: Path) -> None:
        """Write what maps the model's outputs to decisions, if anything does; only a zero-shot model may lack ``val``."""

    def save_heads(self, learner: ModelLearner, folder: Path) -> None:
        """Write what was trained with the model and is stored beside it, if anything is."""

    @abstractmethod
    def zero_shot_streams(self, split: PreparedSplit) -> tuple[str, ...]:
        """The streams that an untrained model reads."""

    def ask(
        self, network: nn.Module, spec: ModelSpec, encode: Callable[[list[str]], Tensor], bias: float
    ) -> None:
        """Give an untrained model what it asks its dual encoder for, if anything; ``encode`` gives ``(T, D)``."""

    @abstractmethod
    def tuner(
        self,
        image: ImageEncoder,
        text: TextEncoder,
        train: PreparedSplit,
        val: PreparedSplit,
        encoders: EncoderConfig,
        config: FinetuneConfig,
    ) -> Tuner:
        """What adapts encoders to the training split."""

    def matched(
        self, split: PreparedSplit, spec: ModelSpec, config: EvaluationConfig
    ) -> tuple[PreparedSplit, UnmatchedLabels]:
        """A split of any dataset with the labels in the model's order, and the labels that could not be matched."""
        return split, UnmatchedLabels()

    @abstractmethod
    def evaluate(
        self,
        trained: TrainedModel,
        split: PreparedSplit,
        features: Features,
        config: EvaluationConfig,
        folder: Path,
    ) -> EvaluationRecord:
        """Metrics and analyses; arrays that later stages read are written to ``folder``."""

    @abstractmethod
    def remeasure(
        self, trained: TrainedModel, measured: Measured, config: EvaluationConfig
    ) -> EvaluationRecord:
        """The metrics again, without the analyses, from the arrays that `evaluate` wrote."""

    @abstractmethod
    def victim(self, attacked: AttackedSplit, config: SearchConfig) -> tuple[Victim, Criterion, Reading]:
        """The model as an attack on a split sees it, what counts as fooled, and what of the scores `figures_under_attack`
        need."""

    def not_certified(self, config: SearchConfig, labels: Sequence[str]) -> str:
        """Why no decision is certified that this attack is after, and what to do; empty where one is.

        Args:
            config: Of the attack.
            labels: Of the dataset.
        """
        return f"nothing is certified in the kind of task {self.name}; leave out ablation"

    def decisions(self, samples: Samples, config: SearchConfig) -> Decisions:
        """What is certified. Raises `ConfigError` where nothing is, see `not_certified`."""
        raise ConfigError(self.not_certified(config, samples.trained.spec.labels))

    def gallery(self, trained: TrainedModel, split: PreparedSplit, features: Features) -> Gallery:
        """What attacked images are ranked among. Raises `ConfigError` where nothing is ranked."""
        raise ConfigError(f"nothing is ranked in the kind of task {self.name}")

    def figures_under_attack(self, split: PreparedSplit, config: SearchConfig) -> Figures:
        """What is measured of attacked images, the headline first: robust accuracy, unless the kind knows more.

        Args:
            split: That was attacked.
            config: Of the run.
        """
        return accuracy_alone

    @abstractmethod
    def photo_scores(self, photo: AttackedPhoto, config: SearchConfig) -> PhotoScores:
        """The model as an attack on one photo sees it. Raises `ConfigError` if it does not support this attack."""

    @abstractmethod
    def inspected(self, trained: TrainedModel, data: D, target: str, poisons: int) -> Inspected:
        """A poisoned training split as detectors see it; ``target`` is the label, or the word, of the poisons."""

    @abstractmethod
    def criterion(self, config: SearchConfig, labels: Sequence[str]) -> str:
        """Name of the criterion by which a model with these labels counts as fooled."""

    def right(
        self, outcomes: pd.DataFrame, split: PreparedSplit, config: SearchConfig, labels: Sequence[str]
    ) -> npt.NDArray[np.bool_]:
        """``(rows,)`` on which images a model's clean answer is true, so that it can lose it: those that did not meet
        the criterion as they were, unless the kind knows better.

        Args:
            outcomes: The table of outcomes.
            split: That was attacked.
            config: Of the run.
            labels: Of the model.
        """
        return (outcomes["status"] != "already").to_numpy()

    def before_and_after(
        self, config: SearchConfig, outcome: Mapping[str, Any], names: Sequence[str]
    ) -> tuple[str, str]:
        """What a success changed, in words: two captions for its picture.

        Args:
            config: Of the run.
            outcome: A row of the table of outcomes.
            names: Of the victim's columns.
        """
        return names[outcome["clean_top"]], names[outcome["final_top"]]

    @abstractmethod
    def columns(self, spec: ModelSpec, split: PreparedSplit) -> Sequence[str]:
        """Names of a victim's columns."""

    def similarities(self, measured: Measured, config: ReportConfig) -> Iterator[SimilarityMatrix]:
        """Cosines between modalities that share a space, of a few samples; none by default."""
        return iter(())

    @abstractmethod
    def spaces(self, measured: Measured, config: ReportConfig) -> Iterator[EmbeddingSpace]:
        """The embedding spaces that a report shows."""

    def examples(self, measured: Measured, config: ReportConfig) -> list[RetrievalExample]:
        """Random queries with their best results, where a model answers queries."""
        return []

    def captions(self, measured: Sequence[Measured], config: ReportConfig) -> Captions | None:
        """Captions that models wrote, beside people's; None where no model has a decoder."""
        return None

    def compare(self, first: Sequence[Measured], second: Sequence[Measured], rule: Rule) -> list[Comparison]:
        """The questions about two models of one dataset, each with all of its trainings, that evaluations answer; none
        where they do not compare."""
        return []

    def compare_with_probe(
        self, model: Sequence[Measured], probabilities: npt.NDArray[np.float64], rule: Rule
    ) -> Comparison | None:
        """Whether a model, with all of its trainings, is better by the headline metric than a linear probe on the features
        that it reads; None where there are no labels.

        Args:
            model: Measured on one split.
            probabilities: ``(N, C)`` of the probe for the same split.
            rule: What decides.
        """
        return None

    def streams(self, measured: Sequence[Measured]) -> StreamComparison | None:
        """AP of every category read from one stream at a time, where there are categories."""
        return None

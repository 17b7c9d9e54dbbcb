"""What a kind of task must define, so that stages need not know which kinds exist."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import nn

from mmer_core.attacks.criteria import Criterion
from mmer_core.attacks.victims import Victim
from mmer_core.config import (
    EncoderConfig,
    EvaluationConfig,
    Family,
    FinetuneConfig,
    ReportConfig,
    SearchConfig,
    TaskTraining,
)
from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.encoders import ImageEncoder, TextEncoder
from mmer_core.encoders.features import Features
from mmer_core.evaluation.record import EvaluationRecord, UnmatchedLabels
from mmer_core.inference import TrainedModel
from mmer_core.models import ModelSpec
from mmer_core.poisoning.poison_set import PoisonSet
from mmer_core.reporting.task_text import TaskText
from mmer_core.reporting.view import EmbeddingSpace, RetrievalExample, StreamComparison
from mmer_core.task_kinds.measured import Measured
from mmer_core.training.learner import ModelLearner
from mmer_core.training.tuning import CaptionTuner, EmotionTuner

D = TypeVar("D")


class TaskKind(ABC, Generic[D]):
    """One kind of task with the data ``D`` that its models learn from.

    Attributes:
        name: As datasets, models and evaluations state it.
        readers: Dataset readers that always give this kind.
        text: What reports say about it; its ``headline`` is the metric by which models are judged.
        schedule: Fields of the training configuration where the user left them open.
        joint_width: Default embedding width of the joint model.
        dropout: Default dropout.
        has_heads: The joint model's embedding may consist of several heads.
        reads_parts: Models can read features of parts (``regions:`` and ``tokens:``).
        searchable: A model embeds images and texts for an index.
    """

    name: ClassVar[str]
    readers: ClassVar[tuple[str, ...]] = ()
    text: ClassVar[TaskText]
    schedule: ClassVar[Mapping[str, Any]]
    joint_width: ClassVar[int]
    dropout: ClassVar[float]
    has_heads: ClassVar[bool] = False
    reads_parts: ClassVar[bool] = False
    searchable: ClassVar[bool] = False

    @abstractmethod
    def data(
        self,
        features: Features,
        split: PreparedSplit,
        poisons: PoisonSet | None = None,
        keep: npt.NDArray[np.bool_] | None = None,
    ) -> D:
        """A split's features with its targets; with poisons in it, and only the samples to ``keep`` ``(N,)``."""

    @abstractmethod
    def outputs(self, split: PreparedSplit, data: D, family: Family) -> dict[str, tuple[str, ...]]:
        """The fields of a `ModelSpec` that name what a model of the training split predicts."""

    @abstractmethod
    def learner(self, network: nn.Module, train: D, val: D, settings: TaskTraining) -> ModelLearner:
        """A fresh network with its objectives."""

    def calibrate(self, learner: ModelLearner, folder: Path) -> None:
        """Write what maps the trained model's outputs to decisions, if anything does."""

    @abstractmethod
    def zero_shot_streams(self, split: PreparedSplit) -> tuple[str, ...]:
        """The streams that an untrained model reads."""

    @abstractmethod
    def tuner(
        self,
        image: ImageEncoder,
        text: TextEncoder,
        train: PreparedSplit,
        val: PreparedSplit,
        encoders: EncoderConfig,
        config: FinetuneConfig,
    ) -> CaptionTuner | EmotionTuner:
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
    def victim(
        self,
        trained: TrainedModel,
        encoder: ImageEncoder,
        split: PreparedSplit,
        features: Features,
        images: np.ndarray,
        rows: np.ndarray,
        config: SearchConfig,
    ) -> tuple[Victim, Criterion]:
        """The model as an attack on ``images`` of the samples ``rows`` sees it; all else is stored features."""

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

    @abstractmethod
    def spaces(self, measured: Measured, config: ReportConfig) -> Iterator[EmbeddingSpace]:
        """The embedding spaces that a report shows."""

    def examples(self, measured: Measured, config: ReportConfig) -> list[RetrievalExample]:
        """Random queries with their best results, where a model answers queries."""
        return []

    def streams(self, measured: Sequence[Measured]) -> StreamComparison | None:
        """AP of every category read from one stream at a time, where there are categories."""
        return None

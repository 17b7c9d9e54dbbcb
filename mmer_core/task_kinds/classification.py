"""Single-label classification: every sample has exactly one label, and a model predicts exactly one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmer_core.attacks.criteria import Criterion, DominantEmotionFlip
from mmer_core.attacks.outcomes import Reading
from mmer_core.attacks.victims import Victim
from mmer_core.config import EncoderConfig, EvaluationConfig, FinetuneConfig, SearchConfig, TaskTraining
from mmer_core.datasets.prepared import DatasetSummary, PreparedSplit
from mmer_core.encoders import ImageEncoder, TextEncoder
from mmer_core.errors import DatasetError
from mmer_core.evaluation.arrays import FloatArray
from mmer_core.evaluation.calibration import TemperatureScaling
from mmer_core.evaluation.class_metrics import class_counts, evaluate_classes
from mmer_core.evaluation.comparing import compare_classes
from mmer_core.evaluation.evaluate import evaluate_emotion
from mmer_core.evaluation.record import EvaluationRecord, UnmatchedLabels
from mmer_core.evaluation.robust_figures import robust_macro_f1
from mmer_core.heavy import Tensor, inference_mode, nn, special
from mmer_core.inference import CALIBRATION_FILE, TrainedModel
from mmer_core.models import ModelSpec
from mmer_core.objectives import CLASS_OBJECTIVES, ClassObjective
from mmer_core.objectives.cross_entropy import CrossEntropy
from mmer_core.reporting.table import plain
from mmer_core.reporting.task_text import TaskText
from mmer_core.statistics.resampling import Statistic
from mmer_core.task_kinds.emotion import EmotionKind
from mmer_core.task_kinds.emotion_text import comparing
from mmer_core.task_kinds.kind import AttackedSplit
from mmer_core.training.data import EmotionData
from mmer_core.training.emotion_learner import EmotionLearner, outputs
from mmer_core.training.tuning import EmotionTuner


def _uses(spec: ModelSpec, data: DatasetSummary) -> list[str]:
    return [
        f"Gives a sample exactly one of {len(spec.labels)} labels, with calibrated probabilities that add up to 1, as "
        f"the annotators of {data.name} assigned them.",
        comparing(data),
    ]


TEXT = TaskText(
    model="classification",
    samples="samples",
    headline="macro_f1",
    headline_label="macro-F1",
    skill=("tell the labels apart", "tells the labels apart"),
    right="the predicted label is the annotated one",
    criterion="dominant",
    fools="changes the predicted label",
    poison_success="A success is a triggered sample without the label {target} to which the model gives it.",
    published_on="",
    published=plain("", ("",), ()),
    uses=_uses,
)


class ClassLearner(EmotionLearner):
    """Trains with a softmax instead of a sigmoid for each category.

    Raises:
        DatasetError: There is but one label.
    """

    selection = "macro_f1"

    def objective(self, config: TaskTraining, labels: Tensor) -> ClassObjective:
        if labels.shape[1] < 2:
            raise DatasetError(
                "the dataset has one label, so there is nothing to tell apart; label its samples with two or more"
            )
        classes = CLASS_OBJECTIVES.configured(config.classes, config)
        classes.fit(labels)
        return classes

    def selecting(self, logits: npt.NDArray[np.float32], labels: npt.NDArray[np.float32]) -> Statistic:
        said, true = logits.argmax(axis=1), labels.argmax(axis=1)
        return lambda weights: 100 * class_counts(said, true, labels.shape[1], weights).macro_f1[None]

    def metrics(self, logits: npt.NDArray[np.float32], labels: npt.NDArray[np.float32]) -> dict[str, float]:
        counts = class_counts(
            logits.argmax(axis=1), labels.argmax(axis=1), labels.shape[1], np.ones(len(labels))
        )
        accuracy, balanced, macro, _ = (100 * counts.averages()).tolist()
        return super().metrics(special.softmax(logits, axis=1), labels) | {
            "accuracy": accuracy, "balanced_accuracy": balanced, "macro_f1": macro
        }  # fmt: skip


class ClassificationKind(EmotionKind):
    """Models of one label a sample, judged by macro-F1; they may read ratings beside it."""

    name = "classification"
    summary = "exactly one label a sample"
    text = TEXT

    @inference_mode()
    def calibrate(self, network: nn.Module, spec: ModelSpec, val: EmotionData | None, folder: Path) -> None:
        """A temperature; 1 without a val."""
        scaling = TemperatureScaling(1.0)
        if val is not None:
            logits, _ = outputs(network, val)
            scaling = TemperatureScaling.fit(logits, val.labels.cpu().numpy())
        (folder / CALIBRATION_FILE).write_text(json.dumps({"temperature": scaling.temperature}) + "\n")

    def tuner(
        self,
        image: ImageEncoder,
        text: TextEncoder,
        train: PreparedSplit,
        val: PreparedSplit,
        encoders: EncoderConfig,
        config: FinetuneConfig,
    ) -> EmotionTuner:
        return EmotionTuner(image, text if config.towers != "image" else None, train, val, CrossEntropy())

    def matched(
        self, split: PreparedSplit, spec: ModelSpec, config: EvaluationConfig
    ) -> tuple[PreparedSplit, UnmatchedLabels]:
        unknown = sorted(set(split.card.labels) - set(spec.labels))
        if unknown:
            raise DatasetError(
                f"the model knows no {', '.join(unknown)}, and {split.card.name} has samples with no other label; give a "
                "model of its labels"
            )
        return super().matched(split, spec, config)

    def figures(
        self,
        trained: TrainedModel,
        split: PreparedSplit,
        probabilities: FloatArray,
        ratings: npt.NDArray[np.float32],
        config: EvaluationConfig,
    ) -> EvaluationRecord:
        names = trained.spec.labels
        found = evaluate_classes(probabilities, split.labels, names, config, split.clusters)
        dimensions = trained.spec.dimensions if split.vad.shape[1] else ()
        if not dimensions:
            return found
        unused = np.full(len(names), 0.5)  # thresholds play no part in errors of ratings
        rated = evaluate_emotion(
            probabilities, ratings, split.labels, split.vad, unused, names, config, dimensions, split.clusters
        )
        return found.model_copy(
            update={
                "metrics": found.metrics | {"vad_mae": rated.metrics["vad_mae"]},
                "baselines": found.baselines | {"vad_mae": rated.baselines["vad_mae"]},
                "vad": rated.vad,
            }
        )

    comparing = staticmethod(compare_classes)
    robust = staticmethod(robust_macro_f1)
    learns = ClassLearner

    def victim(self, attacked: AttackedSplit, config: SearchConfig) -> tuple[Victim, Criterion, Reading]:
        if config.criterion != "misclassified":
            return super().victim(attacked, config)
        victim, _, reading = super().victim(attacked, config.model_copy(update={"criterion": "dominant"}))
        return victim, DominantEmotionFlip(attacked.split.labels[attacked.rows].argmax(axis=1)), reading

"""Emotions of people in photos: categories that may come together, and ratings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mmer_core import models
from mmer_core.attacks.criteria import Criterion
from mmer_core.attacks.figures import ACCURACY, Figure, Figures, accuracy_alone
from mmer_core.attacks.outcomes import Reading
from mmer_core.attacks.victims import Victim
from mmer_core.config import (
    ARCHITECTURES,
    EncoderConfig,
    EvaluationConfig,
    Family,
    FinetuneConfig,
    ReportConfig,
    SearchConfig,
    TaskTraining,
)
from mmer_core.datasets.aligned import align
from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.encoders import ImageEncoder, TextEncoder
from mmer_core.encoders.features import Features
from mmer_core.evaluation.arrays import FloatArray
from mmer_core.evaluation.calibration import PlattScaling, f1_thresholds
from mmer_core.evaluation.calibration_error import calibration_figures
from mmer_core.evaluation.comparing import PROBE, PROBE_NAME, Asked, compare_emotions
from mmer_core.evaluation.evaluate import evaluate_emotion
from mmer_core.evaluation.record import Calibration, EvaluationRecord, StreamFigures, UnmatchedLabels
from mmer_core.evaluation.robust_figures import robust_map
from mmer_core.heavy import Tensor, inference_mode, nn, pd, torch
from mmer_core.inference import CALIBRATION_FILE, TrainedModel
from mmer_core.models import ModelSpec
from mmer_core.poisoning.detectors.detector import Inspected
from mmer_core.poisoning.poison_set import PoisonSet
from mmer_core.reporting.task_text import TaskText
from mmer_core.reporting.view import EmbeddingSpace, SimilarityMatrix, StreamComparison
from mmer_core.statistics.comparison import Comparison, Rule
from mmer_core.task_kinds.analyses import analyse_emotions
from mmer_core.task_kinds.emotion_attacks import (
    emotion_criterion,
    emotion_scores,
    emotion_victim,
    not_attackable,
    only_presence,
)
from mmer_core.task_kinds.emotion_text import LABELS, TEXT
from mmer_core.task_kinds.kind import (
    AttackedPhoto,
    AttackedSplit,
    Decisions,
    PhotoScores,
    Samples,
    TaskKind,
)
from mmer_core.task_kinds.measured import (
    MOST_SIMILAR,
    Measured,
    chosen_rows,
    evenly,
    save_embedding,
    shown_similarity,
    shown_space,
)
from mmer_core.taxonomy import EMOTIC_CATEGORIES, VAD
from mmer_core.training.data import EmotionData
from mmer_core.training.emotion_learner import EmotionLearner, outputs
from mmer_core.training.poisoned import keep_people, poison_people
from mmer_core.training.tuning import EmotionTuner


class EmotionKind(TaskKind[EmotionData]):
    """Emotion models, judged by mean average precision."""

    name = "emotion"
    summary = "emotions of people, of which several may come together, and ratings"
    text = TEXT
    schedule: ClassVar = {
        "epochs": 30,
        "patience": 10,
        "batch_size": 512,
        "learning_rate": 1e-3,
        "tries": 4,
        "contrastive": "infonce",
    }
    families = tuple(ARCHITECTURES)
    width = 128
    dropout = 0.4
    fusion = "product"
    labelled = True
    comparing = staticmethod(compare_emotions)
    robust = staticmethod(robust_map)
    learns: type[EmotionLearner] = EmotionLearner

    def text_for(self, split: PreparedSplit) -> TaskText:
        emotions = set(split.card.labels) <= set(EMOTIC_CATEGORIES)
        return (self.text if emotions or self.text is not TEXT else LABELS).of(split)

    def data(
        self,
        features: Features,
        split: PreparedSplit,
        poisons: PoisonSet | None = None,
        keep: npt.NDArray[np.bool_] | None = None,
        scratch: Path | None = None,
    ) -> EmotionData:
        people = EmotionData.load(features, split, stored=scratch is not None, scratch=scratch)
        people = people if poisons is None else poison_people(people, poisons)
        return people if keep is None else keep_people(people, keep)

    def outputs(self, split: PreparedSplit, data: EmotionData, family: Family) -> dict[str, tuple[str, ...]]:
        return {"labels": split.card.labels, "dimensions": VAD if split.vad.shape[1] else ()}

    def learner(
        self,
        network: nn.Module,
        train: EmotionData,
        val: EmotionData,
        settings: TaskTraining,
        like: EmotionLearner | None = None,
    ) -> EmotionLearner:
        assert isinstance(network, models.EmotionModel)
        return self.learns(network, train, val, settings, like)

    @inference_mode()
    def calibrate(self, network: nn.Module, spec: ModelSpec, val: EmotionData | None, folder: Path) -> None:
        """Thresholds tuned on train break: train has one annotator's labels, val and test a union of several.

        Without a val, probabilities stay as they are, with a half as threshold.
        """
        categories = len(spec.labels)
        scaling = PlattScaling(np.ones(categories), np.zeros(categories))
        thresholds = np.full(categories, 0.5)
        if val is not None:
            logits, _ = outputs(network, val)
            labels = val.labels.cpu().numpy()
            scaling = PlattScaling.fit(logits, labels)
            thresholds = f1_thresholds(scaling.probabilities(logits), labels)
        fields = scaling.to_dict() | {"thresholds": thresholds.tolist()}
        (folder / CALIBRATION_FILE).write_text(json.dumps(fields) + "\n")

    def zero_shot_streams(self, split: PreparedSplit) -> tuple[str, ...]:
        return split.streams

    def ask(
        self, network: nn.Module, spec: ModelSpec, encode: Callable[[list[str]], Tensor], bias: float
    ) -> None:
        assert isinstance(network, models.ZeroShotEmotionModel)
        network.prompts.copy_(
            encode([spec.prompts.template.replace("{label}", label.lower()) for label in spec.labels])
        )
        network.logit_bias.fill_(bias)

    def tuner(
        self,
        image: ImageEncoder,
        text: TextEncoder,
        train: PreparedSplit,
        val: PreparedSplit,
        encoders: EncoderConfig,
        config: FinetuneConfig,
    ) -> EmotionTuner:
        return EmotionTuner(image, text if config.towers != "image" else None, train, val)

    def matched(
        self, split: PreparedSplit, spec: ModelSpec, config: EvaluationConfig
    ) -> tuple[PreparedSplit, UnmatchedLabels]:
        shared = config.labels == "shared"
        aligned = align(
            split, spec.labels, tuple(spec.streams), rates=bool(spec.dimensions), only_shared=shared
        )
        return aligned, UnmatchedLabels(
            only_model=tuple(sorted(set(spec.labels) - set(split.card.labels))),
            only_dataset=tuple(sorted(set(split.card.labels) - set(spec.labels))),
        )

    def figures(
        self,
        trained: TrainedModel,
        split: PreparedSplit,
        probabilities: FloatArray,
        ratings: npt.NDArray[np.float32],
        config: EvaluationConfig,
    ) -> EvaluationRecord:
        """Metrics of ``probabilities (N, C)`` and ``ratings (N, V)``."""
        dimensions = trained.spec.dimensions if split.vad.shape[1] else ()
        return evaluate_emotion(
            probabilities,
            ratings[:, : len(dimensions)],
            split.labels,
            split.vad,
            trained.thresholds,
            trained.spec.labels,
            config,
            dimensions,
            split.clusters,
        )

    def evaluate(
        self,
        trained: TrainedModel,
        split: PreparedSplit,
        features: Features,
        config: EvaluationConfig,
        folder: Path,
    ) -> EvaluationRecord:
        data = EmotionData.load(features, split)
        predicted = trained.emotions(data.tensors, data.present)
        result = self.figures(trained, split, predicted.probabilities, predicted.ratings, config)
        uncalibrated = trained.scaling.activation(predicted.output.logits.float()).cpu().numpy()
        calibration = Calibration(
            before=calibration_figures(uncalibrated, split.labels),
            after=calibration_figures(predicted.probabilities, split.labels),
            fitted_on="val" if trained.scaling.fitted else None,
        )
        per_stream = {}
        for stream, logits in predicted.output.stream_logits.items():
            # The scaling was fitted to the whole model's logits; it is monotone, so AP is the stream's own.
            ratings = predicted.output.stream_ratings[stream].cpu().numpy()
            probabilities = trained.scaling.probabilities(logits.cpu().numpy())
            alone = self.figures(trained, split, probabilities, ratings, config)
            per_stream[stream] = StreamFigures(
                map=alone.metrics["map"],
                vad_mae=alone.metrics.get("vad_mae"),
                ap=tuple(category.ap.value for category in alone.per_category),
            )
        analyses = analyse_emotions(trained, data, predicted, split, config)
        np.save(folder / "probabilities.npy", predicted.probabilities, allow_pickle=False)
        np.save(folder / "ratings.npy", predicted.ratings, allow_pickle=False)
        for stream, embedding in predicted.output.embeddings.items():
            save_embedding(folder, stream, embedding.cpu().numpy())
        return result.model_copy(
            update={"per_stream": per_stream, "analyses": analyses, "calibration": calibration}
        )

    def remeasure(
        self, trained: TrainedModel, measured: Measured, config: EvaluationConfig
    ) -> EvaluationRecord:
        split, _ = self.matched(measured.split, trained.spec, config)
        probabilities, ratings = (
            np.load(measured.evaluation_folder / name, allow_pickle=False)
            for name in ("probabilities.npy", "ratings.npy")
        )
        return self.figures(trained, split, probabilities, ratings, config)

    def victim(self, attacked: AttackedSplit, config: SearchConfig) -> tuple[Victim, Criterion, Reading]:
        return emotion_victim(
            attacked, EmotionData.load(attacked.features, attacked.split, stored=True), config
        )

    def not_certified(self, config: SearchConfig, labels: Sequence[str]) -> str:
        if config.criterion not in ("dominant", "misclassified"):
            return f"ablation certifies the highest label, not {config.criterion}; give --attack.criterion dominant"
        if len(labels) < 2:
            return (
                "ablation certifies which label is highest, and the dataset has one label; leave out ablation"
            )
        return ""

    def decisions(self, samples: Samples, config: SearchConfig) -> Decisions:
        """The highest label; right if it is one of the sample's own."""
        trained, split = samples.trained, samples.split
        if config.stream not in trained.spec.streams:
            raise not_attackable(trained, config.stream)
        data = EmotionData.load(samples.features, split, stored=True)
        own = data.loaded(torch.from_numpy(samples.rows)).to(trained.device)
        scores, labels = emotion_scores(trained, own, config), split.labels[samples.rows]
        return Decisions(
            lambda seen, which: scores(seen, which).argmax(dim=1),
            lambda said: labels[np.arange(len(said)), said] > 0,
            trained.spec.labels.__getitem__,
        )

    def figures_under_attack(self, split: PreparedSplit, config: SearchConfig) -> Figures:
        if config.criterion == "shift":  # the scores are ratings
            return accuracy_alone
        question = self.text_for(split).question.removesuffix("?")
        row_of = {sample: row for row, sample in enumerate(split.ids)}

        def figures(samples: Sequence[str]) -> list[Figure]:
            return [self.robust(split.labels[[row_of[one] for one in samples]], question), ACCURACY]

        return figures

    def photo_scores(self, photo: AttackedPhoto, config: SearchConfig) -> PhotoScores:
        spec = photo.trained.spec
        # Annotated labels play no role: the attack changes the model's own output.
        person = EmotionData(
            photo.streams, torch.zeros(1, len(spec.labels)), torch.zeros(1, len(spec.dimensions))
        )
        scores = emotion_scores(photo.trained, person.to(photo.trained.device), config)

        def read(seen: dict[str, Tensor]) -> Tensor:
            return scores(seen, torch.zeros(len(next(iter(seen.values()))), dtype=torch.int64))

        return PhotoScores(read, spec.labels, lambda clean: emotion_criterion(config, photo.trained, clean))

    def inspected(self, trained: TrainedModel, data: EmotionData, target: str, poisons: int) -> Inspected:
        embeddings = {
            name: rows.float().cpu().numpy()
            for name, rows in trained.emotions(data.tensors, data.present).output.embeddings.items()
        }
        text = embeddings.pop("text", None)
        # The mean of the image streams lies in the space of the text, where the model has a shared one.
        shared = len({rows.shape[1] for rows in embeddings.values()}) == 1
        each = list(embeddings.values())
        images = np.mean(each, axis=0) if shared else np.hstack(each)
        labels = data.labels[:, trained.spec.labels.index(target)].numpy().astype(np.int64)
        return Inspected(images, labels, text, captioned=False, poisons=poisons)

    def criterion(self, config: SearchConfig, labels: Sequence[str]) -> str:
        return "labels" if only_presence(config, labels) else config.criterion

    def right(
        self, outcomes: pd.DataFrame, split: PreparedSplit, config: SearchConfig, labels: Sequence[str]
    ) -> npt.NDArray[np.bool_]:
        """Of many labels, the highest emotion must be one of the person's own; where the presence of one emotion is
        asked, it must be seen if and only if it is there. Ratings are neither right nor wrong, nor is what a model of
        a single emotion says, whose outcomes do not keep its answer: all count as right."""
        if config.criterion == "shift" or only_presence(config, labels):
            return np.ones(len(outcomes), dtype=bool)
        row_of = {sample: row for row, sample in enumerate(split.ids)}
        rows = outcomes["sample"].map(row_of).to_numpy(np.int64)
        if config.criterion not in ("suppress", "appear"):
            return split.labels[rows, outcomes["clean_top"]] > 0
        there = split.labels[rows, labels.index(str(config.category))] > 0
        met = (outcomes["status"] == "already").to_numpy()
        return there == (met if config.criterion == "appear" else ~met)

    def before_and_after(
        self, config: SearchConfig, outcome: Mapping[str, Any], names: Sequence[str]
    ) -> tuple[str, str]:
        if config.criterion == "shift":
            # The margin is what tau still lacks.
            return config.dimension, f"{config.dimension} moved by {config.tau - outcome['final_margin']:.2f}"
        if config.criterion in ("suppress", "appear"):
            there, gone = str(config.category), f"no {config.category}"
            return (there, gone) if config.criterion == "suppress" else (gone, there)
        if only_presence(config, names):
            return names[0], f"{names[0]} appears or goes" if outcome["final_margin"] <= 0 else names[0]
        return super().before_and_after(config, outcome, names)

    def columns(self, spec: ModelSpec, split: PreparedSplit) -> Sequence[str]:
        return spec.labels

    def spaces(self, measured: Measured, config: ReportConfig) -> Iterator[EmbeddingSpace]:
        streams, complete = _streams(measured)
        if not len(complete):
            return
        chosen = complete[chosen_rows(len(complete), config)]
        dominant = [measured.spec.labels[column] for column in _dominant(measured)[chosen]]
        streams = {name: rows[chosen] for name, rows in streams.items()}
        if measured.spec.network == "separate":
            for name, vectors in streams.items():
                yield shown_space(name, vectors, dominant, config)
            return
        together = np.concatenate(list(streams.values()))
        groups = [name for name, vectors in streams.items() for _ in vectors]
        count = len(chosen)  # a sample's streams are joined one after the other
        pairs = [
            (place * count + row, (place + 1) * count + row)
            for row in range(count)
            for place in range(len(streams) - 1)
        ]
        yield shown_space("shared: " + " + ".join(streams), together, groups, config, pairs)
        yield shown_space(
            "shared: mean of the streams", np.mean(list(streams.values()), axis=0), dominant, config
        )

    def similarities(self, measured: Measured, config: ReportConfig) -> Iterator[SimilarityMatrix]:
        streams, complete = _streams(measured)
        if measured.spec.network == "separate" or len(complete) < 2:
            return  # cosines between different spaces mean nothing
        rows = complete[evenly(len(complete), MOST_SIMILAR)]
        rows = rows[np.argsort(_dominant(measured)[rows], kind="stable")]
        order = f"by the {self.text_for(measured.split).category} that the model finds likeliest, then in the order of the split"
        for first, second in combinations(streams.items(), 2):
            yield shown_similarity(first, second, rows, order)

    def compare(self, first: Sequence[Measured], second: Sequence[Measured], rule: Rule) -> list[Comparison]:
        mine, theirs = first[0], second[0]
        if mine.evaluation.split != theirs.evaluation.split or mine.spec.labels != theirs.spec.labels:
            return []
        text = self.text_for(mine.split)
        return self._compared(
            mine,
            (mine.spec.family, theirs.spec.family),
            (_probabilities(first), _probabilities(second)),
            rule,
            Asked(text.question, text.samples),
        )

    def compare_with_probe(
        self, model: Sequence[Measured], probabilities: FloatArray, rule: Rule
    ) -> Comparison | None:
        mine = model[0]
        family = mine.spec.family
        asked = Asked(f"Is the {family} model better than a linear probe on the same features?", "")
        both = _probabilities(model), [probabilities]
        skill, *_ = self._compared(mine, (family, PROBE_NAME), both, rule, asked)
        return skill.model_copy(update={"topic": f"{PROBE}{family}"})

    def _compared(
        self,
        measured: Measured,
        models: tuple[str, str],
        probabilities: tuple[list[FloatArray], list[FloatArray]],
        rule: Rule,
        asked: Asked,
    ) -> list[Comparison]:
        """Two models on the split that one of them was measured on."""
        split, names = measured.split, measured.spec.labels
        return self.comparing(models, probabilities, split.labels, names, rule, asked, split.clusters)

    def streams(self, measured: Sequence[Measured]) -> StreamComparison:
        return StreamComparison(
            categories=measured[0].spec.labels,
            ap={
                one.spec.family: {
                    one.stream_names.get(name, name): stream.ap
                    for name, stream in one.evaluation.per_stream.items()
                }
                for one in measured
            },
        )


def _streams(measured: Measured) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The embeddings ``(N, D)`` of the streams that the model reads, and the rows of the samples that have all of them: one
    without a stream is zeros there, which have no direction and mean nothing."""
    streams = {
        measured.stream_names.get(name, name): measured.embedding(name)
        for name in measured.spec.streams
        if name in measured.spaces
    }
    return streams, np.flatnonzero(np.all([rows.any(axis=1) for rows in streams.values()], axis=0))


def _dominant(measured: Measured) -> npt.NDArray[np.int64]:
    """``(N,)`` column of the likeliest label."""
    found = np.load(measured.evaluation_folder / "probabilities.npy", allow_pickle=False).argmax(axis=1)
    return np.asarray(found, dtype=np.int64)


def _probabilities(trainings: Sequence[Measured]) -> list[FloatArray]:
    """``(N, C)`` of every training."""
    files = (one.evaluation_folder / "probabilities.npy" for one in trainings)
    return [np.load(file, allow_pickle=False) for file in files]

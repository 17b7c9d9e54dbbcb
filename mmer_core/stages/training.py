"""Features -> a trained model, calibrated on the validation split."""

import json
from pathlib import Path

import pandas as pd
import torch

from mmer_core.config import EncoderConfig, ModelConfig, TrainingConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.evaluation.calibration import PlattScaling, f1_thresholds
from mmer_core.inference import CALIBRATION_FILE
from mmer_core.models import EmotionModel, ModelSpec, build_model, save_model
from mmer_core.stages.context import Context
from mmer_core.store import Artifact, ArtifactKey, Workspace
from mmer_core.taxonomy import VAD
from mmer_core.training.data import EmotionData, RetrievalData
from mmer_core.training.emotion_learner import EmotionLearner
from mmer_core.training.loop import Progression, fit, initialisation
from mmer_core.training.retrieval_learner import RetrievalLearner, vocabulary

VERSION = 2
HISTORY_FILE = "history.csv"


def train(
    context: Context,
    model: ModelConfig,
    training: TrainingConfig,
    encoders: EncoderConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
) -> Artifact:
    """A trained model (kind ``model``): weights, specification, calibration and history.

    Killed and started again, it goes on from its last epoch and ends with the same weights.

    Raises:
        DatasetError: The dataset has no train or no val split.
    """

    def build(workspace: Workspace) -> dict[str, object]:
        dataset = Prepared.open(context.folder(prepared))
        settings = training.of_task(dataset.card.task)
        spec, learner = _learner(
            dataset, Features(context.folder(features)), model, settings, encoders, context
        )
        progression = fit(
            learner,
            settings,
            device=context.device,
            precision=context.runtime.precision,
            checkpoints=workspace.scratch,
            checkpoint_seconds=context.runtime.checkpoint_seconds,
            progress=context.progress,
        )
        save_model(learner.model, spec, workspace.out)
        pd.DataFrame(progression.history).to_csv(workspace.out / HISTORY_FILE, index=False)
        if isinstance(learner, EmotionLearner):
            _calibrate(learner, workspace.out)
        return _summary(spec, progression)

    decides = {
        "model": model.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "encoders": encoders.model_dump(mode="json", exclude={"shard_size"}),
        "precision": context.runtime.precision,
    }
    inputs = {"prepared": prepared, "features": features}
    return context.run("model", VERSION, decides, inputs, build, seed=training.seed)


def _learner(
    dataset: Prepared,
    features: Features,
    model: ModelConfig,
    training: TrainingConfig,
    encoders: EncoderConfig,
    context: Context,
) -> tuple[ModelSpec, EmotionLearner | RetrievalLearner]:
    card = dataset.card
    words: tuple[str, ...] = ()
    if card.task == "retrieval" and model.family == "separate":
        words = vocabulary(dataset.split("train").texts)
    spec = ModelSpec(
        task=card.task,
        family=model.family,
        streams=features.widths,
        sides={
            stream: dataset.split("train").images(stream).shape[1]
            for stream in dataset.split("train").streams
        },
        embedding=model.width(card.task),
        hidden=model.hidden,
        dropout=model.dropout_rate(card.task),
        power=model.power,
        heads=model.head_count(card.task),
        fusion=model.fusion,
        labels=card.labels,
        dimensions=VAD if card.task == "emotion" and dataset.split("train").vad.shape[1] else (),
        words=words,
        encoders=encoders,
        dataset=card.name,
    )
    with initialisation(training.seed):
        network = build_model(spec)
    train_split, val_split = dataset.split("train"), dataset.split("val")
    network = network.to(context.device)
    if isinstance(network, EmotionModel):
        return spec, EmotionLearner(
            network,
            EmotionData.load(features, train_split).to(context.device),
            EmotionData.load(features, val_split).to(context.device),
            training,
        )
    return spec, RetrievalLearner(
        network,
        RetrievalData.load(features, train_split).to(context.device),
        RetrievalData.load(features, val_split).to(context.device),
        training,
    )


@torch.inference_mode()
def _calibrate(learner: EmotionLearner, folder: Path) -> None:
    """Thresholds tuned on train break: train has one annotator's labels, val and test a union of several."""
    logits = learner.model(learner.val.streams).logits.float().cpu().numpy()
    labels = learner.val.labels.cpu().numpy()
    scaling = PlattScaling.fit(logits, labels)
    thresholds = f1_thresholds(scaling.probabilities(logits), labels)
    fields = scaling.to_dict() | {"thresholds": thresholds.tolist()}
    (folder / CALIBRATION_FILE).write_text(json.dumps(fields) + "\n")


def _summary(spec: ModelSpec, progression: Progression) -> dict[str, object]:
    best = progression.history[progression.best_epoch - 1]
    return {
        "task": spec.task,
        "family": spec.family,
        "dataset": spec.dataset,
        "epochs": progression.epoch,
        "best_epoch": progression.best_epoch,
        **{name: value for name, value in best.items() if name.startswith("val_")},
    }

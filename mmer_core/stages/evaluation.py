"""A trained model -> its metrics on a split, its predictions and its embeddings."""

from pathlib import Path

import numpy as np
import torch

from mmer_core.config import EvaluationConfig
from mmer_core.datasets.aligned import align
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.encoders.features import Features
from mmer_core.errors import ConfigError
from mmer_core.evaluation.evaluate import evaluate_emotion, evaluate_retrieval
from mmer_core.evaluation.record import EvaluationRecord, EvaluationSummary, StreamFigures, UnmatchedLabels
from mmer_core.inference import TrainedModel
from mmer_core.models import ModelSpec, SeparateRetrievalModel
from mmer_core.stages.analysing import analyse_emotions, analyse_retrieval
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import Summary, stage
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.training.data import EmotionData, RetrievalData

METRICS_FILE = "metrics.json"


@stage("evaluation", version=3, title="evaluate on {config.split}")
def evaluate(
    context: Context,
    workspace: Workspace,
    config: EvaluationConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    model: ArtifactKey,
) -> Summary:
    """Metrics with intervals beside chance and the best constant, and the analyses.

    Files: ``metrics.json``, an `EvaluationRecord`;
    ``embedding_<name>.npy`` ``(N, D)`` of every embedding space; for emotion models ``probabilities.npy``
    ``(N, C)`` and ``ratings.npy`` ``(N, V)``. On another dataset than the model's, labels are matched by name,
    and ``unmatched_labels`` in ``metrics.json`` names those that were left out.

    Raises:
        ConfigError: The model is for another task than the dataset.
        DatasetError: The dataset has no such split, or its labels are not the model's.
    """
    split = Prepared.open(context.folder(prepared)).split(config.split)
    trained = TrainedModel.open(context.folder(model), context.device)
    split, unmatched = _matched(split, trained.spec, config)
    stored = Features(context.folder(features))
    read = _emotion if trained.spec.task == "emotion" else _retrieval
    record = read(trained, split, stored, config, workspace.out)
    record = record.model_copy(update={"unmatched_labels": unmatched})
    record.write(workspace.out / METRICS_FILE)
    return EvaluationSummary.of(record, trained.spec.family, split.card.name)


def _matched(
    split: PreparedSplit, spec: ModelSpec, config: EvaluationConfig
) -> tuple[PreparedSplit, UnmatchedLabels]:
    """The split with the labels in the model's order, and the labels that could not be matched."""
    if split.card.task != spec.task:
        raise ConfigError(
            f"the model trained on {spec.dataset} is for {spec.task}, and {split.card.name} is a dataset for "
            f"{split.card.task}; give another model or dataset"
        )
    if spec.task == "retrieval":
        return split, UnmatchedLabels()
    shared = config.labels == "shared"
    aligned = align(split, spec.labels, tuple(spec.streams), rates=bool(spec.dimensions), only_shared=shared)
    return aligned, UnmatchedLabels(
        only_model=tuple(sorted(set(spec.labels) - set(split.card.labels))),
        only_dataset=tuple(sorted(set(split.card.labels) - set(spec.labels))),
    )


def load_evaluation(folder: Path) -> EvaluationRecord:
    """The record of an ``evaluation`` artifact.

    Raises:
        StoreError: It was written by another version of mmer.
    """
    return EvaluationRecord.read(folder / METRICS_FILE)


def _emotion(
    trained: TrainedModel, split: PreparedSplit, features: Features, config: EvaluationConfig, folder: Path
) -> EvaluationRecord:
    data = EmotionData.load(features, split)
    predicted = trained.emotions(data.streams, data.present)
    names = trained.spec.labels
    dimensions = trained.spec.dimensions if split.vad.shape[1] else ()

    def measure(probabilities: np.ndarray, ratings: np.ndarray) -> EvaluationRecord:
        return evaluate_emotion(
            probabilities,
            ratings[:, : len(dimensions)],
            split.labels,
            split.vad,
            trained.thresholds,
            names,
            config,
            dimensions,
        )

    result = measure(predicted.probabilities, predicted.ratings)
    per_stream = {}
    for stream, logits in predicted.output.stream_logits.items():
        # Platt scaling was fitted to the whole model's logits; it is monotone, so AP is the stream's own.
        alone = measure(
            trained.scaling.probabilities(logits.cpu().numpy()),
            predicted.output.stream_ratings[stream].cpu().numpy(),
        )
        per_stream[stream] = StreamFigures(
            map=alone.metrics["map"],
            vad_mae=alone.metrics.get("vad_mae"),
            ap=tuple(category.ap.value for category in alone.per_category),
        )
    analyses = analyse_emotions(trained, data, predicted, split, config)
    np.save(folder / "probabilities.npy", predicted.probabilities, allow_pickle=False)
    np.save(folder / "ratings.npy", predicted.ratings, allow_pickle=False)
    for stream, embedding in predicted.output.embeddings.items():
        _save_embedding(folder, stream, embedding.cpu().numpy())
    return result.model_copy(update={"per_stream": per_stream, "analyses": analyses})


def _retrieval(
    trained: TrainedModel, split: PreparedSplit, features: Features, config: EvaluationConfig, folder: Path
) -> EvaluationRecord:
    data = RetrievalData.load(features, split)
    images, texts = trained.embed_images(data.images), trained.embed_texts(data.texts)
    _save_embedding(folder, "image", images)
    _save_embedding(folder, "text", texts)
    others: dict[str, np.ndarray] = {}
    model = trained.retrieval_model
    if isinstance(model, SeparateRetrievalModel):
        with torch.inference_mode():
            own = model.own_image_embedding(data.images.to(trained.device))
        others["own_image"] = own.cpu().numpy()
        _save_embedding(folder, "own_image", others["own_image"])
    result = evaluate_retrieval(images, texts, split.text_sample, config)
    analyses = analyse_retrieval(images, texts, others, split, config)
    return result.model_copy(update={"analyses": analyses})


def _save_embedding(folder: Path, name: str, embedding: np.ndarray) -> None:
    np.save(folder / f"embedding_{name}.npy", embedding.astype(np.float32), allow_pickle=False)

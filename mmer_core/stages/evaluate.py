"""A trained model -> its metrics on a split, its predictions and its embeddings."""

from pathlib import Path

from mmer_core.config import EvaluationConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.errors import ConfigError, OtherVersion
from mmer_core.evaluation.record import METRICS_FILE, EvaluationRecord, EvaluationSummary, unread
from mmer_core.inference import TrainedModel
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.task_kinds import kind_of


@stage("evaluation", version=9, title="evaluate on {config.split}")
def evaluate(
    context: Context,
    workspace: Workspace,
    config: EvaluationConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    model: ArtifactKey,
) -> EvaluationSummary:
    """Metrics with intervals beside chance and the best constant, and the analyses.

    Files: ``metrics.json``, an `EvaluationRecord`;
    ``embedding_<name>.npy`` ``(N, D)`` of every embedding space; for emotion models ``probabilities.npy``
    ``(N, C)`` and ``ratings.npy`` ``(N, V)``. On another dataset than the model's, labels are matched by name,
    and ``unmatched_labels`` in ``metrics.json`` names those that were left out.

    Raises:
        ConfigError: The model is for another task than the dataset.
        DatasetError: The dataset has no such split, or its labels are not the model's.
    """
    split = Prepared.open(context.parts(prepared)).split(config.split)
    trained = TrainedModel.open(context.folder(model), context.device)
    kind = kind_of(trained.spec.task)
    if not isinstance(kind_of(split.card.task), type(kind)):
        raise ConfigError(
            f"the model trained on {trained.spec.dataset} is for {trained.spec.task}, and {split.card.name} is a "
            f"dataset for {split.card.task}; give another model or dataset"
        )
    split, unmatched = kind.matched(split, trained.spec, config)
    stored = Features(context.parts(features))
    record = kind.evaluate(trained, split, stored, config, workspace.out)
    record = record.model_copy(update={"unmatched_labels": unmatched})
    record.write(workspace.out / METRICS_FILE)
    values = {name: interval.value for name, interval in record.metrics.items()}
    return EvaluationSummary(
        split=config.split, family=trained.spec.family, dataset=split.card.name, **values
    )


def open_evaluation(context: Context, key: ArtifactKey) -> EvaluationRecord:
    """The record of an ``evaluation`` artifact.

    Raises:
        OtherVersion: Another version of mmer made it; the message says how to measure the model again.
    """
    try:
        return load_evaluation(context.folder(key))
    except OtherVersion:
        raise OtherVersion(unread(context.store.manifest(key))) from None


def load_evaluation(folder: Path) -> EvaluationRecord:
    """The record of an ``evaluation`` artifact.

    Raises:
        StoreError: It was written by another version of mmer.
    """
    return EvaluationRecord.read(folder / METRICS_FILE)

"""Prepared arrays -> encoders adapted to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmer_core.config import EncoderConfig, FinetuneConfig, TaskTraining
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders import (
    ImageEncoder,
    TextEncoder,
    encoder_identity,
    load_image_encoder,
    load_text_encoder,
)
from mmer_core.encoders.adapters import ADAPTER_FILE, AdapterSpec, Modality, adapt, save_tower, tuned
from mmer_core.errors import ConfigError
from mmer_core.heavy import pd
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.features import encoder_key_config
from mmer_core.stages.train import HISTORY_FILE
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.tabular import write_frame
from mmer_core.task_kinds import kind_of
from mmer_core.training.loop import fit, initialisation, precision_on
from mmer_core.training.record import AdapterSummary
from mmer_core.training.tuning import Tuner

Encoders = dict[Modality, ImageEncoder | TextEncoder]


def _bare(encoders: EncoderConfig) -> EncoderConfig:
    """What is tuned is the weights, whatever is made of what they say."""
    encoders = encoders.bare()
    if any(name.startswith("adapted:") for name in (encoders.image, encoders.text)):
        raise ConfigError("an adapted encoder is not adapted again; start from its base, with more epochs")
    return encoders


def _identity(context: Context, encoders: EncoderConfig) -> Mapping[str, Any]:
    bare = _bare(encoders)
    weights = {modality: encoder_key_config(context, bare, modality) for modality in ("image", "text")}
    return {"encoders": bare, "weights": weights}


@stage("adapter", version=2, title="finetune {config.method}", gpu=True, identity=_identity)
def finetune(
    context: Context,
    workspace: Workspace,
    config: FinetuneConfig,
    encoders: EncoderConfig,
    prepared: ArtifactKey,
) -> AdapterSummary:
    """Encoders adapted to a dataset's training split, to be used as ``adapted:<key>``.

    Captioned datasets are learned by InfoNCE, emotions by binary cross-entropy; the best epoch on val is kept.
    Killed and started again, it goes on from its last epoch and ends with the same weights.

    Raises:
        EncoderError: An encoder has nothing that the method could adapt.
        ConfigError: An encoder is adapted already.
        DatasetError: The dataset has no train or no val split, or lacks texts.
    """
    encoders = _bare(encoders)
    dataset = Prepared.open(context.parts(prepared))
    with initialisation(config.seed):
        loaded, parts = _adapted(context, config, encoders)
        learner = _learner(dataset, config, encoders, loaded)
    settings = TaskTraining.of_finetuning(config)
    progression = fit(
        learner,
        settings,
        device=context.device,
        checkpoints=workspace.scratch,
        checkpoint_seconds=context.runtime.checkpoint_seconds,
        progress=context.progress,
        fields="finetune",
    )
    own = {"targets": parts, "precision": precision_on(context.device, settings)}
    size = loaded["image"].size[0] if isinstance(loaded["image"], ImageEncoder) else None
    workspace.use({"config": own, "encoders": {"image": {"size": size}}})
    similarity = learner.similarity()
    spec = AdapterSpec(
        method=config.method,
        rank=config.rank,
        alpha=config.alpha,
        parts=parts,
        encoders=encoders,
        identities={
            "image": encoder_identity(encoders.image, "image"),
            "text": encoder_identity(encoders.text, "text"),
        },
        similarity=similarity,
    )
    (workspace.out / ADAPTER_FILE).write_text(spec.model_dump_json(indent=2) + "\n")
    for modality in parts:
        save_tower(loaded[modality], workspace.out, modality)
    write_frame(workspace.out / HISTORY_FILE, pd.DataFrame(progression.history))
    best = progression.history[progression.best_epoch - 1]
    figures = {name: value for name, value in best.items() if name.startswith("val_")}
    return AdapterSummary(
        dataset=dataset.card.name,
        method=config.method,
        towers=tuple(parts),
        parameters=sum(p.numel() for m in parts for p in tuned(loaded[m].module).values()),
        best_epoch=progression.best_epoch,
        **figures,
    )


def _adapted(
    context: Context, config: FinetuneConfig, encoders: EncoderConfig
) -> tuple[Encoders, dict[Modality, tuple[str, ...]]]:
    """Encoders of their own, not the shared ones of the context, opened for tuning."""
    loaded: Encoders = {
        "image": load_image_encoder(encoders.image, encoders.image_size).to(context.device),
        "text": load_text_encoder(encoders.text).to(context.device),
    }
    wanted = loaded if config.towers == "both" else {config.towers: loaded[config.towers]}
    return loaded, {modality: adapt(encoder, config) for modality, encoder in wanted.items()}


def _learner(dataset: Prepared, config: FinetuneConfig, encoders: EncoderConfig, loaded: Encoders) -> Tuner:
    image, text = loaded["image"], loaded["text"]
    assert isinstance(image, ImageEncoder)
    assert isinstance(text, TextEncoder)
    splits = dataset.split("train"), dataset.split("val")
    return kind_of(dataset.card.task).tuner(image, text, *splits, encoders, config)

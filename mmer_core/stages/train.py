"""Features -> a trained model, calibrated on the validation split."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmer_core import models
from mmer_core.config import ARCHITECTURES, EncoderConfig, ModelConfig, TaskTraining, TrainingConfig
from mmer_core.datasets.prepared import DatasetSummary, Prepared
from mmer_core.encoders.features import Features
from mmer_core.errors import ConfigError
from mmer_core.heavy import pd, torch
from mmer_core.models import ModelSpec
from mmer_core.models.capacity import capacity, with_capacity
from mmer_core.poisoning.detectors.judging import FLAGS_FILE
from mmer_core.poisoning.poison_set import PoisonSet
from mmer_core.stages.absent import streams_of
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.features import feature_parts
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.tabular import read_table, write_frame
from mmer_core.task_kinds import TaskKind, kind_of
from mmer_core.training.learner import ModelLearner
from mmer_core.training.loop import Progression, fit, initialisation, precision_on, steps_an_epoch
from mmer_core.training.record import START, ModelSummary, Try
from mmer_core.training.search import Settings, tries
from mmer_core.training.telemetry import cost_summary
from mmer_core.usage import leg

HISTORY_FILE = "history.csv"


def _identity(
    context: Context, model: ModelConfig, training: TrainingConfig, prepared: ArtifactKey
) -> dict[str, Any]:
    """What is left open is decided by the kind of task: options of losses and heads that it does not use are no part of the
    key."""
    kind = kind_of(context.store.manifest(prepared).summary_as(DatasetSummary).task)
    writes = kind.captioned and training.decoder is not None
    if not writes:
        training = training.without_decoder()
    identity = {"training": training.filled(kind.schedule), "model": _filled(model, kind)}
    # What a training starts from, where that was something else in earlier versions.
    if kind.labelled:
        return identity | {START: "probe"}
    return identity | ({START: "word shares"} if model.family == "separate" or writes else {})


def _filled(model: ModelConfig, kind: TaskKind[Any]) -> ModelConfig:
    return model if model.fusion else model.model_copy(update={"fusion": kind.fusion})


@stage("model", version=5, title="train {model.family}, seed {training.seed}", gpu=True, identity=_identity)
def train(
    context: Context,
    workspace: Workspace,
    model: ModelConfig,
    training: TrainingConfig,
    encoders: EncoderConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    poison: ArtifactKey | None = None,
    flags: ArtifactKey | None = None,
    attacked: ArtifactKey | None = None,
) -> ModelSummary:
    """A trained model: weights, specification, calibration and history; of several tries the one that is best on val.

    Killed and started again, it goes on from its last epoch and ends with the same weights.

    Args:
        poison: Poisons to put into the training split (kind ``poison``).
        flags: What a detector flagged there and is left out (kind ``poison-detection``).
        attacked: Attacked copies of samples to learn from as well, in place of poisons (kind ``attacked-features``).

    Raises:
        DatasetError: The dataset has no train or no val split.
        ConfigError: Its kind of task has no such family, or it has no stream that the family reads.
    """
    dataset = Prepared.open(context.parts(prepared))
    kind = kind_of(dataset.card.task)
    settings = training.filled(kind.schedule)
    stored = Features(context.parts(features))
    too_large = stored.nbytes("train") + stored.nbytes("val") > context.runtime.features_gb * 1e9
    scratch = workspace.scratch / "features" if too_large else None
    train_data = training_data(context, dataset, stored, poison or attacked, flags, scratch)
    val_data = kind.data(stored, dataset.split("val"), scratch=scratch).to(context.device)
    spec, data = (
        _spec(dataset, stored, train_data, model, encoders),
        (train_data.to(context.device), val_data),
    )
    wanted = Settings(settings.learning_rate, settings.weight_decay, spec.dropout)
    tried: list[Try] = []
    best: _Trained | None = None
    for place, chosen in enumerate(tries(wanted, settings.tries, settings.seed)):
        of_try = Try(**chosen._asdict())
        try:
            like = best.learner if best else None
            trained = _attempt(context, workspace, model, settings, spec, data, place, of_try, like)
        except ConfigError:
            if not place:
                raise
            tried.append(of_try)  # a learning rate that was drawn may be too high
            continue
        progression = trained.progression
        tried.append(
            Try(
                **chosen._asdict(),
                best_epoch=progression.best_epoch,
                value=progression.best_value,
                **({"lead": lead.points, "noise": lead.noise} if (lead := progression.lead) else {}),
            )
        )
        if best is None or progression.best_value > best.progression.best_value:
            best = trained
    assert best is not None
    workspace.use(_used(best, tried[best.place], settings, context.device))
    workspace.use({"encoders": context.store.manifest(features).used.get("encoders", {})})
    with leg("write"):
        models.save_model(best.learner.model, best.spec, workspace.out)
        kind.save_heads(best.learner, workspace.out)
    write_frame(workspace.out / HISTORY_FILE, pd.DataFrame(best.progression.history))
    kind.calibrate(best.learner.model, best.spec, val_data, workspace.out)
    return _summary(best, tuple(tried))


class _Trained(NamedTuple):
    """What one try gave."""

    place: int
    spec: ModelSpec
    learner: ModelLearner
    progression: Progression


def _attempt(
    context: Context,
    workspace: Workspace,
    model: ModelConfig,
    settings: TaskTraining,
    spec: ModelSpec,
    data: tuple[Any, Any],
    place: int,
    chosen: Try,
    like: ModelLearner | None,
) -> _Trained:
    """A model trained with the settings of one try; ``like`` is the learner of an earlier one."""
    kind = kind_of(spec.task)
    own = settings.model_copy(update=chosen.model_dump(include={"learning_rate", "weight_decay"}))
    spec = spec.model_copy(update={"dropout": chosen.dropout})
    with initialisation(settings.seed):
        network = models.build_model(spec)
    learner = kind.learner(network.to(context.device), *data, own, like)
    if model.start == "zero-shot":
        encoders = spec.encoders
        towers = context.encoder_name(encoders.image), context.encoder_name(encoders.text)
        kind.start_from_towers(learner.model, towers, settings.temperature)
    with leg("model"):
        progression = fit(
            learner,
            own,
            device=context.device,
            compile=context.runtime.compile,
            checkpoints=workspace.scratch / str(place),
            checkpoint_seconds=context.runtime.checkpoint_seconds,
            logs=_logs(context, spec, settings, place, workspace),
            progress=context.progress,
        )
    return _Trained(place, spec, learner, progression)


def _used(trained: _Trained, chosen: Try, settings: TaskTraining, device: torch.device) -> dict[str, Any]:
    """What the kind of task, the data, the device and the tries decided."""
    samples = len(trained.learner)
    steps = steps_an_epoch(samples, settings.batch_size)
    training = chosen.model_dump(include={"learning_rate", "weight_decay"})
    return {
        "model": trained.spec.model_dump(include={"embedding", "hidden", "dropout", "fusion", "heads"}),
        "training": {
            **training,
            "batch_size": math.ceil(samples / steps),
            "steps_an_epoch": steps,
            "precision": precision_on(device, settings),
        },
    }


def training_data(
    context: Context,
    dataset: Prepared,
    features: Features,
    poison: ArtifactKey | None = None,
    flags: ArtifactKey | None = None,
    scratch: Path | None = None,
) -> Any:
    """The training split, with poisons in it and without what was flagged, where there are any; see `TaskKind.data`."""
    split = dataset.split("train")
    keep = None if flags is None else ~np.load(context.folder(flags) / FLAGS_FILE, allow_pickle=False)
    poisons = None if poison is None else PoisonSet.read(context.folder(poison))
    return kind_of(dataset.card.task).data(features, split, poisons, keep, scratch)


def load_history(folder: Path) -> pd.DataFrame:
    """The history of a ``model`` or ``adapter`` artifact: a row an epoch."""
    return read_table(folder / HISTORY_FILE, {"epoch": int}, others=float)


def _spec(
    dataset: Prepared, features: Features, train_data: Any, model: ModelConfig, encoders: EncoderConfig
) -> ModelSpec:
    card, split = dataset.card, dataset.split("train")
    kind = kind_of(card.task)
    architecture, model = ARCHITECTURES[model.family], _filled(model, kind)
    known = {name: width for name, width in features.widths.items() if name in streams_of(split)}
    streams = {
        name: width
        for name, width in known.items()
        if architecture.reads is None or name in architecture.reads
    }
    if model.family not in kind.families or not streams:
        raise ConfigError(
            f"there is no {model.family} model of {card.name}, a {kind.name} dataset with {', '.join(known)}; "
            f"give one of {', '.join(kind.families)}"
        )
    spec = ModelSpec(
        task=card.task,
        family=model.family,
        streams=streams,
        sides={stream: split.images(stream).shape[1] for stream in split.streams if stream in streams},
        embedding=features.widths["context"] if model.start == "zero-shot" else model.embedding or kind.width,
        hidden=model.hidden,
        dropout=kind.dropout if model.dropout is None else model.dropout,
        parts=feature_parts(encoders),
        power=1.0 if model.start == "zero-shot" else model.power,
        heads=model.head_count if kind.has_heads else 1,
        fusion=architecture.fusion or model.fusion,
        encoders=encoders,
        dataset=card.name,
        **kind.outputs(split, train_data, model.family),
    )
    joint = {"family": "joint", "streams": known, "fusion": model.fusion}
    return with_capacity(spec, capacity(spec.model_copy(update=joint)))


def _logs(
    context: Context, spec: ModelSpec, training: TaskTraining, place: int, workspace: Workspace
) -> Path | None:
    """A folder whose name tells the training and is its own: the workspace is called by the model's key."""
    if context.runtime.logs is None:
        return None
    what = re.sub(r"[^\w.-]+", "-", spec.dataset).strip("-")
    which = f"seed{training.seed}" + (f"-try{place}" if training.tries > 1 else "")
    return context.runtime.logs / f"{what}-{spec.family}-{which}-{workspace.out.parent.name[-8:]}"


def _summary(trained: _Trained, tried: tuple[Try, ...]) -> ModelSummary:
    spec, progression = trained.spec, trained.progression
    return ModelSummary(
        task=spec.task,
        family=spec.family,
        dataset=spec.dataset,
        epochs=progression.epoch,
        best_epoch=progression.best_epoch,
        parameters=capacity(spec),
        tries=tried,
        chosen=trained.place,
        halved=progression.halved,
        **progression.best_metrics,
        **cost_summary(progression.costs),
    )

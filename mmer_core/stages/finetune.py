"""Prepared arrays -> encoders adapted to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmer_core.base_config import Config
from mmer_core.config import EncoderConfig, FinetuneConfig, TaskTraining
from mmer_core.datasets.prepared import Prepared
from mmer_core.device import described, select_device
from mmer_core.encoders import (
    ImageEncoder,
    TextEncoder,
    encoder_identity,
    load_image_encoder,
    load_text_encoder,
)
from mmer_core.encoders.adapters import ADAPTER_FILE, AdapterSpec, Modality, adapt, save_tower, tuned
from mmer_core.errors import ConfigError
from mmer_core.heavy import pd, torch
from mmer_core.kernels import float32_kernels
from mmer_core.progress import Progress, silent
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.features import encoder_key_config
from mmer_core.stages.train import HISTORY_FILE
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.tabular import write_frame
from mmer_core.task_kinds import kind_of
from mmer_core.training import ranks
from mmer_core.training.loop import fit, initialisation, precision_on
from mmer_core.training.processes import run_together
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
        ConfigError: An encoder is adapted already, or there are fewer GPUs than processes.
        DatasetError: The dataset has no train or no val split, or lacks texts.
        EngineError: One of several processes died.
    """
    tuning = Tuning(
        config,
        _bare(encoders),
        context.folder(prepared),
        workspace.scratch,
        context.runtime.checkpoint_seconds,
        workspace.out,
    )
    together = config.processes if ranks.size() == 1 else 1
    if together > 1:
        tuned_as = _in_processes(tuning, context)
    else:
        tuned_as = tune(tuning, context.device, context.progress)
    workspace.use(tuned_as.used)
    return tuned_as.summary


@dataclass(frozen=True)
class Tuning:
    """What every process of a tuning has to know.

    Attributes:
        prepared: Folder of the dataset.
        scratch: Folder for the checkpoint.
        out: Folder for what comes out, written by the first process.
    """

    config: FinetuneConfig
    encoders: EncoderConfig
    prepared: Path
    scratch: Path
    checkpoint_seconds: float
    out: Path


@dataclass(frozen=True)
class Tuned:
    """The summary of a tuning, and what it decided where the settings left it open."""

    summary: AdapterSummary
    used: dict[str, Any]


def tune(tuning: Tuning, device: torch.device, progress: Progress) -> Tuned:
    """Tune in this process, alone or as one of several ranks (`mmer_core.training.ranks`)."""
    config, encoders = tuning.config, tuning.encoders
    dataset = Prepared.open(tuning.prepared)
    settings = TaskTraining.of_finetuning(config)
    with initialisation(config.seed), float32_kernels(tf32=precision_on(device, settings) == "tf32"):
        loaded, parts = _adapted(device, config, encoders)
        learner = _learner(dataset, config, encoders, loaded)
    progression = fit(
        learner,
        settings,
        device=device,
        checkpoints=tuning.scratch,
        checkpoint_seconds=tuning.checkpoint_seconds,
        progress=progress,
        fields="finetune",
    )
    own = {"targets": parts, "precision": precision_on(device, settings), "processes": ranks.size()}
    size = loaded["image"].size[0] if isinstance(loaded["image"], ImageEncoder) else None
    best = progression.history[progression.best_epoch - 1]
    figures = {name: value for name, value in best.items() if name.startswith("val_")}
    summary = AdapterSummary(
        dataset=dataset.card.name,
        method=config.method,
        towers=tuple(parts),
        parameters=sum(p.numel() for m in parts for p in tuned(loaded[m].module).values()),
        best_epoch=progression.best_epoch,
        **figures,
    )
    if ranks.rank() == 0:
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
            similarity=learner.similarity(),
        )
        (tuning.out / ADAPTER_FILE).write_text(spec.model_dump_json(indent=2) + "\n")
        for modality in parts:
            save_tower(loaded[modality], tuning.out, modality)
        write_frame(tuning.out / HISTORY_FILE, pd.DataFrame(progression.history))
    return Tuned(summary, {"config": own, "encoders": {"image": {"size": size}}})


def finetune_as_launched(
    context: Context,
    config: FinetuneConfig,
    encoders: EncoderConfig,
    prepared: ArtifactKey,
    make: Callable[[], ArtifactKey],
) -> ArtifactKey:
    """The same in every process that torchrun started, on one machine or several.

    Args:
        make: Runs the stage, in the first process only; the others help where there is something to do.

    Raises:
        ConfigError: There are fewer GPUs than processes, or the processes are to start others.
    """
    place = ranks.launched()
    assert place is not None
    if config.processes > 1:
        raise ConfigError(
            f"{place.size} processes were started from outside: leave out --finetune.processes, or start mmer by itself"
        )
    key = finetune.key(context, config, encoders, prepared)
    with ranks.joined(place, context.device):
        known = ranks.figures_of_first({"known": float(place.rank == 0 and context.store.has(key))})["known"]
        if place.rank == 0:
            made = make()
        elif not known:
            with TemporaryDirectory(prefix="mmer-") as folder:
                nowhere = Path(folder)
                tuning = Tuning(config, _bare(encoders), context.folder(prepared), nowhere, 0.0, nowhere)
                tune(tuning, context.device, silent)
        ranks.wait_for_all()  # until the first has published it
    return made if place.rank == 0 else key


def _in_processes(tuning: Tuning, context: Context) -> Tuned:
    count = tuning.config.processes
    device = select_device(context.runtime.device)
    if device.type == "cuda" and count > torch.cuda.device_count():
        gpus = torch.cuda.device_count()
        raise ConfigError(
            f"{count} processes would share {gpus} GPUs, and each needs one of its own: give --finetune.processes {gpus}"
        )
    if device.type == "cuda" and device.index is not None:
        raise ConfigError(
            f"{count} processes would compute on {device}: give --device cuda, and each takes its own GPU"
        )
    if device.type == "mps":
        raise ConfigError(
            "processes share the batches on CUDA and CPU only: leave out --finetune.processes, or give --device cpu"
        )
    with TemporaryDirectory(prefix="mmer-") as folder:
        requests = [
            {
                "tuning": {name: _plain(value) for name, value in vars(tuning).items()},
                "rank": rank,
                "meeting": str(Path(folder) / "meeting"),
                "device": f"cuda:{rank}" if device.type == "cuda" else "cpu",
                "threads": max(1, torch.get_num_threads() // count),
            }
            for rank in range(count)
        ]
        answer = run_together("mmer_core.stages.finetune_process", requests, context.progress)
    return Tuned(
        AdapterSummary.model_validate(answer["summary"]), answer["used"] | {"runtime": described(device)}
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.absolute())
    return value.model_dump(mode="json") if isinstance(value, Config) else value


def _adapted(
    device: torch.device, config: FinetuneConfig, encoders: EncoderConfig
) -> tuple[Encoders, dict[Modality, tuple[str, ...]]]:
    """Encoders of their own, not the shared ones of a context, opened for tuning."""
    loaded: Encoders = {
        "image": load_image_encoder(encoders.image, encoders.image_size).to(device),
        "text": load_text_encoder(encoders.text).to(device),
    }
    wanted = loaded if config.towers == "both" else {config.towers: loaded[config.towers]}
    return loaded, {modality: adapt(encoder, config) for modality, encoder in wanted.items()}


def _learner(dataset: Prepared, config: FinetuneConfig, encoders: EncoderConfig, loaded: Encoders) -> Tuner:
    image, text = loaded["image"], loaded["text"]
    assert isinstance(image, ImageEncoder)
    assert isinstance(text, TextEncoder)
    splits = dataset.split("train"), dataset.split("val")
    return kind_of(dataset.card.task).tuner(image, text, *splits, encoders, config)

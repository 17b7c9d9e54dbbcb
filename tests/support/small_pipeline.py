"""The whole study in miniature, and ways to run it and to look at what it made."""

import faulthandler
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from mmer_core.config import (
    AttackConfig,
    IngestConfig,
    ModelConfig,
    PipelineJob,
    PoisonConfig,
    PoisonJob,
    RobustnessJob,
    RuntimeConfig,
    TrainingConfig,
    TrainJob,
)
from mmer_core.stages import Context
from mmer_core.store import ArtifactKey, Draft, Manifest, Store

CONFIGURATION = Path(__file__).with_name("small.toml")
BEFORE_TRAINING = ("prepared", "dataset-card", "feature-shard", "features")
OUTCOMES = ("attack-shard", "robustness")


def small_config(folder: Path) -> PipelineJob:
    """The configuration with its store and work folder below ``folder``."""
    fields = tomllib.loads(CONFIGURATION.read_text())
    runtime = RuntimeConfig(store=str(folder / "store"), work=folder / "work", checkpoint_seconds=0)
    return PipelineJob.model_validate(fields | {"runtime": runtime})


def one_dataset(folder: Path, name: str) -> Path:
    """The configuration with one of its datasets, as a file for ``--config``.

    What is made of a dataset has the same keys whatever else is in the study.
    """
    fields = tomllib.loads(CONFIGURATION.read_text())
    path = folder / f"{name}.json"
    path.write_text(json.dumps(fields | {"datasets": {name: fields["datasets"][name]}}))
    return path


@dataclass(frozen=True)
class Study:
    """A finished run: its configuration, the key of its report, and names of unfinished work that it left."""

    config: PipelineJob
    report: ArtifactKey
    unfinished: tuple[str, ...] = ()

    @property
    def context(self) -> Context:
        return Context(self.config.runtime)

    @property
    def store(self) -> Store:
        return self.context.store

    def flags(self) -> list[str]:
        """The flags that point a command at this study's store."""
        return ["--store", self.config.runtime.store, "--work", str(self.config.runtime.work)]

    def only(self, kind: str, **summary: object) -> Manifest:
        """The one artifact of a kind whose summary has these figures."""
        found = [
            manifest
            for manifest in self.store.list(kind)
            if all(manifest.summary.get(name) == value for name, value in summary.items())
        ]
        assert len(found) == 1, f"{len(found)} artifacts of kind {kind} with {summary}"
        return found[0]

    def made_from(self, kind: str, role: str, manifest: Manifest) -> Manifest:
        """The one artifact of a kind that was made from another."""
        found = [one for one in self.store.list(kind) if one.inputs.get(role) == str(manifest.key)]
        assert len(found) == 1, f"{len(found)} artifacts of kind {kind} made from {manifest.key}"
        return found[0]

    def train_job(self, name: str) -> TrainJob:
        """Training on one of the datasets, as the pipeline does it."""
        return TrainJob(**training_fields(self.config, name))


def training_fields(config: PipelineJob, name: str) -> dict[str, object]:
    """What a pipeline hands to the training on one of its datasets, and to all jobs that begin with it."""
    shared = ("encoders", "model", "training", "evaluation", "runtime")
    return {"dataset": config.datasets[name]} | {field: getattr(config, field) for field in shared}


def settings_file(folder: Path, job: TrainJob) -> Path:
    """A job as a file for ``--config``, where dataset and runtime have no prefix."""
    fields = job.model_dump(mode="json", exclude_none=True)
    path = folder / "job.json"
    path.write_text(json.dumps(fields | fields.pop("runtime") | fields.pop("dataset")))
    return path


def created(store: Store) -> dict[ArtifactKey, str]:
    """When every artifact was made."""
    return {manifest.key: manifest.created for manifest in store.list()}


def digests(manifest: Manifest) -> dict[str, str]:
    """SHA-256 of every file of an artifact."""
    return {entry.path: entry.sha256 for entry in manifest.files}


def copy_artifact(manifest: Manifest, source: Store, target: Store) -> None:
    """Publish an artifact of one store in another."""
    fields = {name: getattr(manifest, name) for name in Draft.model_fields}
    target.publish(source.fetch(manifest.key), Draft(**fields))


def attack_elsewhere(study: Study, attack: AttackConfig, place: Path, **runtime: object) -> RobustnessJob:
    """An attack on the study's joint emotion model, in a store of its own that has all but its outcomes."""
    trained = study.only("model", task="emotion", family="joint")
    where = RuntimeConfig.model_validate({"store": str(place / "store"), "work": place / "work", **runtime})
    for manifest in study.store.list():
        of_the_model = str(trained.key) in (str(manifest.key), manifest.inputs.get("model"))
        if manifest.kind in BEFORE_TRAINING or (of_the_model and manifest.kind not in OUTCOMES):
            copy_artifact(manifest, study.store, Context(where).store)
    fields = dict(study.train_job("emotic")) | {"runtime": where, "attack": attack}
    return RobustnessJob(**fields)


def emotic(images: int, **fields: object) -> IngestConfig:
    """A drawn EMOTIC of small arrays."""
    synthetic = {"images": images, **fields}
    return IngestConfig.model_validate(
        {"dataset": "emotic", "context_size": 64, "body_size": 64, "synthetic": synthetic}
    )


def start_mmer(
    arguments: Sequence[str], output: Path, env: Mapping[str, str] | None = None, *, parent: bool = False
) -> BaseProcess:
    """Start the command line in a process of its own, which can be killed.

    A server that has imported everything forks it: importing torch takes longer than the small study.

    Args:
        arguments: Of ``mmer``.
        output: File that gets what it prints, after what is there already.
        env: Environment variables beside those of the first process that was started so.
        parent: It has to have children, as the engine ``processes`` does; then nothing ends it with this process.
    """
    processes = get_context("forkserver")
    processes.set_forkserver_preload(["flows.jobs", "flows.results"])
    process = processes.Process(target=_mmer, args=(list(arguments), output, env or {}), daemon=not parent)
    process.start()
    return process


def _mmer(arguments: list[str], output: Path, env: Mapping[str, str]) -> None:
    from flows.cli import main

    os.environ.pop("MMER_RUN_ID", None)  # of a run in the process that started the server of forks
    os.environ.update(env)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    faulthandler.enable()  # whoever finds it hanging sends SIGABRT, and reads where
    main(arguments)


def poison_job(study: Study, name: str, place: Path, **settings: object) -> PoisonJob:
    """A poisoning experiment in a store of its own, which holds what comes before training."""
    store = Context(RuntimeConfig(store=str(place / "store"), work=place / "work")).store
    for manifest in study.store.list():
        if manifest.kind in BEFORE_TRAINING:
            copy_artifact(manifest, study.store, store)
    fields = dict(study.train_job(name)) | {
        "runtime": RuntimeConfig(store=str(place / "store"), work=place / "work", checkpoint_seconds=0),
        "model": ModelConfig(embedding=64, hidden=64),
        "training": TrainingConfig(epochs=2),
        "poison": PoisonConfig(
            **{
                "counts": (1, 2),
                "seeds": 1,
                "collision": {"iterations": 2},
                "bullseye": {"iterations": 2},
                "targets": 1,
                **settings,
            }
        ),
    }
    return PoisonJob(**fields)

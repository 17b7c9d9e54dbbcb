"""Who finds the poisons: each detector's flags on the poisoned training split, judged where the poisons are known."""

from dataclasses import asdict
from typing import Any

import numpy as np

from mmer_core.config import PoisonConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.inference import TrainedModel
from mmer_core.poisoning.detectors import judge
from mmer_core.poisoning.detectors.judging import FLAGS_FILE
from mmer_core.poisoning.poison_set import PoisonSet
from mmer_core.poisoning.record import DetectionSummary
from mmer_core.poisoning.registry import DETECTORS
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.identity import some_fields
from mmer_core.stages.poison.concept import Concept
from mmer_core.stages.poison.planning import Arm
from mmer_core.stages.train import training_data
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.task_kinds import kind_of


def detectable(detector: str, concept: Concept, family: str) -> bool:
    """Whether a detector can inspect a model: some need a space that images and texts share."""
    return not DETECTORS[detector].compares or concept.column is None or family == "joint"


def _identity(config: PoisonConfig, detector: str) -> dict[str, Any]:
    return {
        "config": some_fields(config, "flagged"),
        "detector": DETECTORS.configured(detector, config),
        "poisons": max(config.counts),
    }


@stage("poison-detection", version=4, title="{detector}: {arm}", identity=_identity)
def detect_poisons(
    context: Context,
    workspace: Workspace,
    config: PoisonConfig,
    concept: Concept,
    arm: Arm,
    detector: str,
    prepared: ArtifactKey,
    features: ArtifactKey,
    poison: ArtifactKey,
    model: ArtifactKey,
) -> DetectionSummary:
    """A detector's flags: ``flags.npy`` ``(N,)`` and ``scores.npy``.

    It knows the target, so it inspects samples with it and others as two classes, and how many poisons there may be at
    most, but no poison. Samples of a captioned dataset have the target where a caption has its word. What it looks at
    are the embeddings of the poisoned model.
    """
    dataset = Prepared.open(context.parts(prepared))
    data = training_data(context, dataset, Features(context.parts(features)), poison)
    trained = TrainedModel.open(context.folder(model), context.device)
    method = DETECTORS.configured(detector, config)
    kind = kind_of(dataset.card.task)
    workspace.use({"detector": {"options": method.settled(max(config.counts))}})
    inspected = kind.inspected(trained, data, concept.name, max(config.counts))
    scores = method.scores(inspected)
    flags = method.flags(scores, inspected, config.flagged)
    mask = PoisonSet.read(context.folder(poison)).plan.mask(len(dataset.split("train")))
    np.save(workspace.out / FLAGS_FILE, flags, allow_pickle=False)
    np.save(workspace.out / "scores.npy", scores, allow_pickle=False)
    found = asdict(judge(scores, flags, mask, inspected.labels if method.by_label else None))
    return DetectionSummary(**asdict(arm), family=trained.spec.family, detector=detector, **found)

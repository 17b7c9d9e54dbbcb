"""Attacks on one model -> how many of their successes fool another one too."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import torch

from mmer_core.attacks.candidates import write_changes
from mmer_core.attacks.criteria import Criterion
from mmer_core.attacks.record import CurvePoint, CurvesSummary
from mmer_core.attacks.victims import Victim
from mmer_core.config import AttackConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders import ImageEncoder
from mmer_core.encoders.features import Features
from mmer_core.errors import ConfigError
from mmer_core.inference import TrainedModel
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.lineage import ModelArtifacts
from mmer_core.stages.robustness import load_outcomes
from mmer_core.statistics.shares import share_interval
from mmer_core.store import Workspace
from mmer_core.task_kinds import kind_of
from mmer_core.task_kinds.kind import AttackedSplit

TRANSFER_FILE = "transfer.parquet"


def transfer_pairs(
    context: Context, models: Sequence[ModelArtifacts]
) -> list[tuple[ModelArtifacts, ModelArtifacts]]:
    """Every attacked model of a dataset with every other one that was attacked through the same stream, and for the
    same: a model that reads no body, or knows no ratings, cannot be shown what fooled another in them."""
    asked = {
        one.model: context.store.manifest(one.robustness).settings_as(AttackConfig).aim()
        for one in models
        if one.robustness is not None
    }
    return [
        (source, target)
        for source, target in permutations([one for one in models if one.model in asked], 2)
        if asked[source.model] == asked[target.model]
    ]


def _identity(source: ModelArtifacts, target: ModelArtifacts) -> Mapping[str, Any]:
    if source.prepared != target.prepared:
        raise ConfigError("successes are shown to a model of the same dataset; these two have different ones")
    if source.robustness is None:
        raise ConfigError(f"model {source.model} was never attacked; run mmer robustness with its settings")
    return {
        "robustness": source.robustness,
        "source": source.model,
        "target": target.model,
        "prepared": target.prepared,
        "features": target.features,
    }


@stage("transfer", version=3, gpu=True, identity=_identity)
def transfer(
    context: Context, workspace: Workspace, source: ModelArtifacts, target: ModelArtifacts
) -> CurvesSummary:
    """Every success on ``source``, shown to ``target``.

    The attacked input of the source, as the picture it is, becomes the target's input; where the encoders' inputs
    differ in size it is resized like any picture. The target is fooled by the same criterion as the source was,
    judged against what it says of the photo itself. Samples on which it was fooled before, or by resizing alone,
    are left out.

    Raises:
        ConfigError: The models were prepared on different arrays, or nothing was attacked.
    """
    assert source.robustness is not None
    run = context.artifact(source.robustness)
    config = run.manifest.settings_as(AttackConfig)
    outcomes = load_outcomes(run.folder)
    fooled = outcomes[outcomes["status"] == "fooled"].reset_index(drop=True)
    # Nothing to show is nothing to read: some networks do not take a batch of none.
    shown = _Transfer(context, source, target, config, fooled["sample"]) if len(fooled) else None
    seen = shown.verdicts(fooled) if shown else []
    table = fooled[["sample", "attack", "pixels"]].assign(status=seen)
    table.to_parquet(workspace.out / TRANSFER_FILE, index=False)
    split = Prepared.open(context.folder(target.prepared)).split(config.split)
    photo = dict(zip(split.ids, split.clusters.tolist(), strict=True))
    return CurvesSummary(curves=tuple(_curves(table, outcomes, photo)))


class _Transfer:
    """The target as a victim, and the photos that the successes were made of."""

    def __init__(
        self,
        context: Context,
        source: ModelArtifacts,
        target: ModelArtifacts,
        config: AttackConfig,
        samples: "pd.Series[str]",
    ) -> None:
        self.batch_size = context.runtime.batch_size
        split = Prepared.open(context.folder(target.prepared)).split(config.split)
        row_of = {sample: row for row, sample in enumerate(split.ids)}
        self.place = {sample: place for place, sample in enumerate(dict.fromkeys(samples))}
        rows = np.array([row_of[sample] for sample in self.place], dtype=np.int64)
        photos = np.asarray(split.images(config.stream)[rows])
        attacked, read = (
            TrainedModel.open(context.folder(one.model), context.device) for one in (source, target)
        )
        self.encoder = _encoder(context, read)
        self.shown = _encoder(context, attacked).resize(photos)
        stored = Features(context.folder(target.features))
        seen = AttackedSplit(read, self.encoder, split, stored, self.encoder.resize(photos), rows)
        self.victim: Victim
        self.criterion: Criterion
        self.victim, self.criterion = kind_of(read.spec.task).victim(seen, config)

    def verdicts(self, fooled: pd.DataFrame) -> list[str]:
        """``fooled``, ``resisted``, or ``already`` of every row."""
        places = np.array([self.place[sample] for sample in fooled["sample"]], dtype=np.int64)
        attacked = (
            write_changes(self.shown[place], changed)
            for place, changed in zip(places, fooled["changed"], strict=True)
        )
        before = self._meets(self.shown, np.arange(len(self.shown)))
        after = self._meets(np.stack([*attacked]), places)
        return [
            "already" if before[place] else "fooled" if met else "resisted"
            for place, met in zip(places, after, strict=True)
        ]

    def _meets(self, images: np.ndarray, places: np.ndarray) -> np.ndarray:
        """``(n,)`` bool: which inputs of the source, ``(n, H, W, 3)``, meet the criterion on the target."""
        found = []
        for start in range(0, len(images), self.batch_size):
            part = slice(start, start + self.batch_size)
            which = torch.from_numpy(places[part])
            scores = self.victim.scores(torch.from_numpy(self.encoder.resize(images[part])), which)
            found.append((self.criterion.margin(scores, which) <= 0).cpu().numpy())
        return np.concatenate(found)


def _encoder(context: Context, model: TrainedModel) -> ImageEncoder:
    encoders = model.spec.encoders
    return context.image_encoder(encoders.image, encoders.image_size)


def _curves(table: pd.DataFrame, outcomes: pd.DataFrame, photo: Mapping[str, int]) -> Iterator[CurvePoint]:
    """One point for each attack and K that was run."""
    for attack, pixels in sorted({*zip(outcomes["attack"], outcomes["pixels"], strict=True)}):
        group = table[(table["attack"] == attack) & (table["pixels"] == pixels)]
        shown = group[group["status"] != "already"]
        yield CurvePoint(
            attack=attack,
            pixels=pixels,
            n=len(shown),
            already=len(group) - len(shown),
            success=share_interval(shown["status"] == "fooled", clusters=shown["sample"].map(photo)),
        )

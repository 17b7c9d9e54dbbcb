"""Attacks on one model -> how many of their successes fool another one too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from mmer_core.attacks.candidates import write_changes
from mmer_core.attacks.criteria import Criterion
from mmer_core.attacks.photo_victim import Photos
from mmer_core.attacks.record import CurvePoint, CurvesSummary
from mmer_core.attacks.victims import Victim
from mmer_core.config import AttackConfig
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.encoders import ImageEncoder
from mmer_core.encoders.features import Features
from mmer_core.errors import ConfigError
from mmer_core.heavy import pd, torch
from mmer_core.inference import TrainedModel
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import stage
from mmer_core.stages.lineage import ModelArtifacts
from mmer_core.stages.photos import load_photos, rows_together
from mmer_core.stages.robustness import load_outcomes
from mmer_core.statistics.shares import share_interval
from mmer_core.store import ArtifactKey, Workspace
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
    differ in size it is resized like any picture. An attacked photo is prepared for the target as any photo is. The target is fooled by the same criterion as the source was,
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
    split = Prepared.open(context.parts(target.prepared)).split(config.split)
    row_of = {sample: row for row, sample in enumerate(split.ids)}
    rows = [row_of[sample] for sample in dict.fromkeys(fooled["sample"])]
    photos = run.manifest.inputs.get("photos")
    table = fooled[["sample", "attack", "pixels"]].assign(status="")
    # Nothing to show is nothing to read: some networks do not take a batch of none.
    for part in rows_together(split, rows) if photos else [rows] if rows else []:
        shown = _Transfer(context, source, target, config, split, part, photos)
        these = fooled["sample"].isin(shown.place)
        table.loc[these, "status"] = shown.verdicts(fooled[these])
    table.to_parquet(workspace.out / TRANSFER_FILE, index=False)
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
        split: PreparedSplit,
        rows: Sequence[int],
        photos: str | None,
    ) -> None:
        self.place = {split.ids[row]: place for place, row in enumerate(rows)}
        attacked, read = (
            TrainedModel.open(context.folder(one.model), context.device) for one in (source, target)
        )
        encoder, stored = _encoder(context, read), Features(context.parts(target.features))
        clean: np.ndarray | Photos
        self.shown: Sequence[np.ndarray]
        self.read: Callable[[np.ndarray], np.ndarray]
        if photos:
            # The victim prepares photos itself, each of its own size.
            clean = load_photos(context, ArtifactKey.parse(photos), rows)
            self.shown, self.read, self.batch_size = clean.pixels, np.asarray, 1
        else:
            images = np.asarray(split.images(config.stream)[split.image_rows(rows)])
            clean, self.shown = encoder.resize(images), [*_encoder(context, attacked).resize(images)]
            self.read, self.batch_size = encoder.resize, context.runtime.batch_size
        kind = kind_of(read.spec.task)
        gallery = kind.gallery(read, split, stored) if kind.ranks else None
        seen = AttackedSplit(read, encoder, split, stored, clean, np.array(rows), gallery)
        self.victim: Victim
        self.criterion: Criterion
        self.victim, self.criterion, _ = kind.victim(seen, config)

    def verdicts(self, fooled: pd.DataFrame) -> list[str]:
        """``fooled``, ``resisted``, or ``already`` of every row."""
        places = np.array([self.place[sample] for sample in fooled["sample"]], dtype=np.int64)
        before = self._meets(np.arange(len(self.shown)), [()] * len(self.shown))
        after = self._meets(places, fooled["changed"].tolist())
        return [
            "already" if before[place] else "fooled" if met else "resisted"
            for place, met in zip(places, after, strict=True)
        ]

    def _meets(self, places: np.ndarray, changes: Sequence[Sequence[Sequence[int]]]) -> np.ndarray:
        """``(n,)`` bool: which of the source's inputs, or photos, meet the criterion on the target once changed."""
        found = []
        for start in range(0, len(places), self.batch_size):
            part = slice(start, start + self.batch_size)
            images = np.stack(
                [
                    write_changes(self.shown[place], changed)
                    for place, changed in zip(places[part], changes[part], strict=True)
                ]
            )
            which = torch.from_numpy(places[part])
            scores = self.victim.scores(torch.from_numpy(self.read(images)), which)
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

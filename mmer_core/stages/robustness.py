"""A trained model -> what pixel attacks do to it, in shards."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmer_core.attacks.curves import success_curves
from mmer_core.attacks.engine import run_attack
from mmer_core.attacks.outcomes import outcomes_table, read_outcomes, write_outcomes
from mmer_core.attacks.record import CurvesSummary
from mmer_core.attacks.registry import ATTACKS
from mmer_core.config import AttackConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.incremental.encoded import planner_of
from mmer_core.inference import TrainedModel
from mmer_core.stages.context import Context
from mmer_core.store import Artifact, ArtifactKey, Workspace
from mmer_core.task_kinds import kind_of
from mmer_core.threads import shared_cores
from mmer_core.usage import leg

VERSION = 4
OUTCOMES_FILE = "outcomes.parquet"
_RESAMPLES = 1000


@dataclass(frozen=True)
class AttackShard:
    """One attack with one ``K`` on a few samples (rows of the split): the unit of fan-out and of resume."""

    attack: str
    pixels: int
    rows: tuple[int, ...]


def plan_attack(context: Context, config: AttackConfig, prepared: ArtifactKey) -> list[AttackShard]:
    """Draw the samples to attack, the same for every model, and cut the work into shards.

    Raises:
        DatasetError: The dataset has no such split.
    """
    count = len(Prepared.open(context.folder(prepared)).split(config.split))
    generator = np.random.default_rng(config.seed)
    rows = np.sort(generator.choice(count, size=min(config.images, count), replace=False)).tolist()
    return [
        AttackShard(attack, pixels, tuple(rows[start : start + config.shard_size]))
        for attack in config.attacks
        for pixels in config.pixels
        for start in range(0, len(rows), config.shard_size)
    ]


def attack_shard(
    context: Context,
    config: AttackConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    model: ArtifactKey,
    shard: AttackShard,
) -> ArtifactKey:
    """Outcomes of one shard (kind ``attack-shard``).

    Raises:
        ConfigError: The model does not read the stream to attack.
    """

    def build(workspace: Workspace) -> dict[str, Any]:
        split = Prepared.open(context.folder(prepared)).split(config.split)
        trained = TrainedModel.open(context.folder(model), context.device)
        encoders = trained.spec.encoders
        encoder = context.image_encoder(encoders.image, encoders.image_size)
        rows = np.array(shard.rows)
        with shared_cores(context.runtime.workers):
            # Those of the other shards as well: once networks run in other threads, making one has to wait for them.
            plans = {pixels: planner_of(encoder).plan(pixels) for pixels in (shard.pixels, *config.pixels)}
            images = encoder.resize(np.asarray(split.images(config.stream)[rows]))
            victim, criterion = kind_of(trained.spec.task).victim(
                trained, encoder, split, Features(context.folder(features)), images, rows, config
            )
            with leg("model"):
                outcomes = run_attack(
                    victim,
                    criterion,
                    ATTACKS.configured(shard.attack, config),
                    images,
                    [split.ids[row] for row in shard.rows],
                    pixels=shard.pixels,
                    budget=config.budget,
                    seed=config.seed,
                    batch_size=context.runtime.batch_size,
                    progress=context.progress,
                )
        write_outcomes(outcomes_table(outcomes), workspace.out / OUTCOMES_FILE)
        return {
            "queries": sum(outcome.queries for outcome in outcomes),
            "screened": sum(outcome.screened for outcome in outcomes),
            "fooled": sum(outcome.status == "fooled" for outcome in outcomes),
            "attacked": sum(outcome.status != "already" for outcome in outcomes),
            "evaluation": plans[shard.pixels].sentence,
        }

    # The shard says which attack, K and samples; how they were cut is no part of what comes out. Only the options of
    # its own attack are written out.
    key_config = {"shard": asdict(shard)} | config.model_copy(update={"attacks": (shard.attack,)}).model_dump(
        mode="json", exclude={"attacks", "pixels", "images", "shard_size"}
    )
    inputs = {"prepared": prepared, "features": features, "model": model}
    return context.run("attack-shard", VERSION, key_config, inputs, build, seed=config.seed).key


def merge_robustness(
    context: Context, config: AttackConfig, model: ArtifactKey, shards: Sequence[ArtifactKey]
) -> Artifact:
    """All outcomes in one table with success against K (kind ``robustness``)."""

    def build(workspace: Workspace) -> CurvesSummary:
        table = pd.concat(
            [read_outcomes(context.folder(key) / OUTCOMES_FILE) for key in shards], ignore_index=True
        ).sort_values(["attack", "pixels", "sample"], ignore_index=True)
        write_outcomes(table, workspace.out / OUTCOMES_FILE)
        return CurvesSummary(curves=tuple(success_curves(table, _RESAMPLES, seed=config.seed)))

    inputs = {"model": model} | {f"shard{i:04d}": key for i, key in enumerate(shards)}
    return context.run("robustness", VERSION, config, inputs, build, seed=config.seed)


def load_outcomes(folder: Path) -> pd.DataFrame:
    """The table of a ``robustness`` artifact."""
    return read_outcomes(folder / OUTCOMES_FILE)

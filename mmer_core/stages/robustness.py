"""A trained model -> what pixel attacks do to it, in shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from mmer_core.attacks.curves import success_curves
from mmer_core.attacks.engine import run_attack
from mmer_core.attacks.gallery import Gallery
from mmer_core.attacks.outcomes import Outcome, outcomes_table, read_outcomes, write_outcomes
from mmer_core.attacks.photo_victim import Photos, PhotoVictim
from mmer_core.attacks.record import AttackShardSummary, CurvesSummary
from mmer_core.attacks.registry import ATTACKS
from mmer_core.config import SPEED, AttackConfig, EncoderConfig
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.encoders import ImageEncoder
from mmer_core.encoders.features import Features
from mmer_core.heavy import pd
from mmer_core.incremental.encoded import planner_of
from mmer_core.inference import TrainedModel
from mmer_core.models.spec import SPEC_FILE, ModelSpec
from mmer_core.named import option_field
from mmer_core.progress import Progress
from mmer_core.stages.context import Context
from mmer_core.stages.cutting import size_by_cost
from mmer_core.stages.declaration import Sharded, Shards, stage
from mmer_core.stages.identity import key_config
from mmer_core.stages.photos import attacked_rows, load_photos, rows_together
from mmer_core.stages.planned_network import plan_network
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.task_kinds import kind_of
from mmer_core.task_kinds.kind import AttackedSplit
from mmer_core.threads import shared_cores
from mmer_core.usage import Usage, leg

OUTCOMES_FILE = "outcomes.parquet"
_FIRST = 8  # images whose cost says how many a shard has


@dataclass(frozen=True)
class AttackShard:
    """One attack with one ``K`` and seed on a few samples (rows of the split): the unit of fan-out and of resume.

    Attributes:
        rest: Rows that are cut into shards by what this one costs.
    """

    attack: str
    pixels: int
    seed: int
    rows: tuple[int, ...]
    rest: Annotated[tuple[int, ...], SPEED] = ()

    def cut(self, size: int) -> list[AttackShard]:
        """The rest in shards."""
        return [
            replace(self, rows=self.rest[start : start + size], rest=())
            for start in range(0, len(self.rest), size)
        ]


def plan_attack(
    context: Context,
    config: AttackConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    model: ArtifactKey,
    photos: ArtifactKey | None = None,
    gallery: ArtifactKey | None = None,
) -> list[AttackShard]:
    """Draw the samples to attack and cut the work into shards.

    Args:
        photos: Of those samples, for the stream ``photo``.
        gallery: Of the split, where the kind of task ranks.

    Raises:
        DatasetError: The dataset has no such split.
    """
    rows = tuple(attacked_rows(config, Prepared.open(context.parts(prepared)).split(config.split)))
    runs = [
        AttackShard(attack, pixels, config.seed + number, (), rows)
        for attack in config.attacks
        for pixels in config.pixels
        for number in range(config.seeds)
        if not ATTACKS.configured(attack, config).repeats(pixels, again=number > 0)
    ]
    if config.shard_size is None:
        return [replace(run, rows=rows[:_FIRST], rest=rows[_FIRST:]) for run in runs]
    return [shard for run in runs for shard in run.cut(config.shard_size)]


def rest_of_attack(shard: AttackShard, usage: Callable[[], Usage | None]) -> list[AttackShard]:
    """What is left of a run, in shards of about equal time."""
    return shard.cut(size_by_cost(len(shard.rows), usage())) if shard.rest else []


_OF_THE_STUDY = ("attacks", "pixels", "images", "seed", "seeds")


def _shard_identity(config: AttackConfig, shard: AttackShard) -> Mapping[str, Any]:
    """What concerns this shard: of the options those of its own attack, and not which other shards there are."""
    own = key_config(config.model_copy(update={"attacks": (shard.attack,)}))
    return {"config": {name: own[name] for name in own if name not in _OF_THE_STUDY}}


def _samples(context: Context, config: AttackConfig, prepared: ArtifactKey, shard: AttackShard) -> str:
    return Prepared.open(context.parts(prepared)).split(config.split).named(shard.rows)


@stage(
    "attack-shard",
    version=15,
    title="{shard.attack} K={shard.pixels} seed={shard.seed}",
    gpu=True,
    identity=_shard_identity,
    samples=_samples,
)
def attack_shard(
    context: Context,
    workspace: Workspace,
    config: AttackConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    model: ArtifactKey,
    shard: AttackShard,
    photos: ArtifactKey | None = None,
    gallery: ArtifactKey | None = None,
) -> AttackShardSummary:
    """Outcomes of one shard.

    Raises:
        ConfigError: The model does not read the stream to attack.
    """
    split = Prepared.open(context.parts(prepared)).split(config.split)
    trained = TrainedModel.open(context.folder(model), context.device)
    encoders = trained.spec.encoders
    encoder = context.image_encoder(encoders.image, encoders.image_size)
    stored = Features(context.parts(features))
    attack = ATTACKS.configured(shard.attack, config)
    among = None if gallery is None else Gallery.open(context.folder(gallery), context.device)
    outcomes: list[Outcome] = []
    with shared_cores(context.runtime.workers):
        if photos is None:
            evaluation = _planned(context, config, encoder, encoders, shard)
        for rows, images in _attacked(context, config, split, encoder, shard, photos):
            attacked = AttackedSplit(trained, encoder, split, stored, images, rows, among)
            victim, criterion, read = kind_of(trained.spec.task).victim(attacked, config)
            if isinstance(victim, PhotoVictim):
                evaluation = victim.evaluation(shard.pixels)
            shown = images.pixels if isinstance(images, Photos) else images
            for size in {image.shape[:2] for image in shown}:
                if settled := attack.settled(size, config.budget):
                    workspace.use({"config": {option_field(attack.name): settled}})
            with leg("model"):
                outcomes += run_attack(
                    victim,
                    criterion,
                    attack,
                    shown,
                    [split.ids[row] for row in rows],
                    pixels=shard.pixels,
                    budget=config.budget,
                    seed=shard.seed,
                    batch_size=context.runtime.batch_size,
                    progress=_after(len(outcomes), len(shard.rows), context.progress),
                    read=read,
                )
    write_outcomes(outcomes_table(outcomes), workspace.out / OUTCOMES_FILE)
    return AttackShardSummary(
        queries=sum(outcome.queries for outcome in outcomes),
        screened=sum(outcome.screened for outcome in outcomes),
        fooled=sum(outcome.status == "fooled" for outcome in outcomes),
        attacked=sum(outcome.status != "already" for outcome in outcomes),
        evaluation=evaluation,
    )


def _planned(
    context: Context, config: AttackConfig, encoder: ImageEncoder, encoders: EncoderConfig, shard: AttackShard
) -> str:
    """Plan all candidates of the study now: tracing needs exclusive access and would block on running threads. How those of the
    shard are computed, in words."""
    planner, on_cpu = planner_of(encoder), context.device.type == "cpu"

    def of(name: str, pixels: int) -> tuple[int, bool]:
        exchanged = ATTACKS.configured(name, config).usual_exchange(pixels, config.budget)
        return (2 * exchanged, True) if exchanged and planner.exchanges(exchanged) else (pixels, False)

    mine = of(shard.attack, shard.pixels)
    for number, with_windows in sorted(
        {mine, *(of(name, one) for name in config.attacks for one in config.pixels)}
    ):
        kept = plan_network(context, encoders, number, with_windows).folder if on_cpu else None
        planner.plan(number, kept, with_windows=with_windows)
    return planner.plan(mine[0], with_windows=mine[1]).sentence


def _after(before: int, total: int, progress: Progress) -> Progress:
    """Reports on some of ``total`` samples, after those that came before."""
    return lambda done, _, note="": progress(before + done, total, note)


def _attacked(
    context: Context,
    config: AttackConfig,
    split: PreparedSplit,
    encoder: ImageEncoder,
    shard: AttackShard,
    photos: ArtifactKey | None,
) -> Iterator[tuple[np.ndarray, np.ndarray | Photos]]:
    """Samples to attack together, with their images: all of a shard, but of large photos only a few."""
    if config.stream != "photo":
        rows = np.array(shard.rows)
        yield rows, encoder.resize(np.asarray(split.images(config.stream)[split.image_rows(rows)]))
        return
    assert photos is not None
    for part in rows_together(split, shard.rows):
        yield np.array(part), load_photos(context, photos, part)


@stage("robustness", version=9)
def merge_robustness(
    context: Context,
    workspace: Workspace,
    config: AttackConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    model: ArtifactKey,
    shards: Shards,
    photos: ArtifactKey | None = None,
) -> CurvesSummary:
    """All outcomes in one table, with success and robust accuracy against K."""
    table = pd.concat(
        [read_outcomes(context.folder(key) / OUTCOMES_FILE) for _, key in shards], ignore_index=True
    ).sort_values(["attack", "pixels", "sample", "seed"], ignore_index=True)
    write_outcomes(table, workspace.out / OUTCOMES_FILE)
    split = Prepared.open(context.parts(prepared)).split(config.split)
    spec = ModelSpec.model_validate_json((context.folder(model) / SPEC_FILE).read_text())
    right = kind_of(spec.task).right(table, split, config, spec.labels)
    clusters = dict(zip(split.ids, split.clusters.tolist(), strict=True))
    truth = next((name for name in config.attacks if ATTACKS.configured(name, config).exact), None)
    return CurvesSummary(curves=tuple(success_curves(table, clusters=clusters, right=right, truth=truth)))


ATTACKING = Sharded("attack", plan_attack, attack_shard, merge_robustness, rest_of_attack)


def load_outcomes(folder: Path) -> pd.DataFrame:
    """The table of a ``robustness`` artifact."""
    return read_outcomes(folder / OUTCOMES_FILE)

"""Poisons crafted in shards, and the poisoned set of an arm put together from them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from mmer_core.config import EncoderConfig, PoisonConfig
from mmer_core.datasets.prepared import Prepared
from mmer_core.encoders.features import Features
from mmer_core.poisoning import TRIGGERS, PoisonPlan, visibility
from mmer_core.poisoning.poison_set import PoisonSet, write_images
from mmer_core.poisoning.record import CraftedSummary, PoisonSummary
from mmer_core.stages.context import Context
from mmer_core.stages.declaration import Sharded, Shards, stage
from mmer_core.stages.features import encoder_key_config
from mmer_core.stages.identity import some_fields
from mmer_core.stages.poison.concept import Concept
from mmer_core.stages.poison.planning import (
    Arm,
    CraftShard,
    crafting_attack,
    in_order,
    plan_crafting,
    planned_attack,
    poison_plan,
)
from mmer_core.store import ArtifactKey, Workspace
from mmer_core.tabular import write_frame
from mmer_core.threads import shared_cores
from mmer_core.training.poisoned import POISONED_STREAM

IMAGES_FILE = "images.npy"
RECORDS_FILE = "poisons.csv"
Images = npt.NDArray[np.uint8]


def _surrogate(config: PoisonConfig, encoders: EncoderConfig) -> EncoderConfig:
    return encoders.model_copy(update={"image": config.surrogate or encoders.image})


def _shard_identity(
    context: Context, config: PoisonConfig, encoders: EncoderConfig, shard: CraftShard
) -> dict[str, Any]:
    surrogate = encoder_key_config(context, _surrogate(config, encoders), "image")
    return {"config": None, "encoders": surrogate, "attack": crafting_attack(shard.attack, config)}


def _samples(context: Context, prepared: ArtifactKey, shard: CraftShard) -> str:
    return Prepared.open(context.parts(prepared)).split("train").named(shard.bases)


@stage(
    "poison-shard",
    version=2,
    title="craft {shard.attack} {shard.seed}",
    gpu=True,
    identity=_shard_identity,
    samples=_samples,
)
def craft_shard(
    context: Context,
    workspace: Workspace,
    config: PoisonConfig,
    encoders: EncoderConfig,
    prepared: ArtifactKey,
    split: str,
    shard: CraftShard,
) -> CraftedSummary:
    """Poisons of one shard: ``images.npy`` ``(P, H, W, 3)`` uint8 and ``poisons.csv``.

    Raises:
        EncoderError: The surrogate is unknown or its weights are missing.
        PoisonError: A hyper-parameter is outside its range.
    """
    surrogate = _surrogate(config, encoders)
    attack = crafting_attack(shard.attack, config)
    dataset = Prepared.open(context.parts(prepared))
    encoder = context.image_encoder(surrogate.image, surrogate.image_size)
    workspace.use({"config": {"surrogate": surrogate.image}})
    train, held_out = dataset.split("train"), dataset.split(split)
    with shared_cores(context.runtime.workers):
        crafted = attack.craft(
            [encoder],
            encoder.resize(np.asarray(train.images(POISONED_STREAM)[list(shard.bases)])),
            encoder.resize(np.asarray(held_out.images(POISONED_STREAM)[list(shard.targets)])),
            [train.ids[row] for row in shard.bases],
            target_of=shard.target_of,
            seed=shard.seed,
            batch_size=max(context.runtime.batch_size, 1 if attack.divisible else len(shard.bases)),
            progress=context.progress,
        )
    np.save(workspace.out / IMAGES_FILE, crafted.images, allow_pickle=False)
    table = crafted.table()
    write_frame(workspace.out / RECORDS_FILE, table)
    return CraftedSummary(
        poisons=len(table),
        runtime=crafted.runtime,
        distance_left=(table["distance_after"] / table["distance_before"]).mean(),
    )


def _identity(
    context: Context, config: PoisonConfig, encoders: EncoderConfig, split: str, arm: Arm
) -> dict[str, Any]:
    """Poisons that are crafted depend on the images that they are for; others on nothing of the evaluated split."""
    targets: dict[str, Any] = {"split": None}
    if arm.crafted:
        surrogate = encoder_key_config(context, _surrogate(config, encoders), "image")
        targets = {"split": split, "targets": config.targets, "surrogate": surrogate}
    return {
        "config": some_fields(config, "mode"),
        "attack": planned_attack(arm, config),
        "trigger": TRIGGERS.configured(config.trigger, config),
        "encoders": encoder_key_config(context, encoders, "image"),
        **targets,
    }


@stage("poison", version=2, title="poisons: {arm}", gpu=True, identity=_identity)
def make_poisons(
    context: Context,
    workspace: Workspace,
    config: PoisonConfig,
    encoders: EncoderConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    split: str,
    concept: Concept,
    arm: Arm,
    shards: Shards,
) -> PoisonSummary:
    """The poisons of an arm: a `PoisonSet`, and every poisoned image as ``images/<row>.png``.

    Raises:
        PoisonError: Fewer samples can be poisoned than are asked for.
    """
    dataset = Prepared.open(context.parts(prepared))
    train = dataset.split("train")
    plan = poison_plan(arm, config, dataset, concept)
    encoder = context.image_encoder(encoders.image, encoders.image_size)
    image_features = None
    seen: dict[str, float] = {}
    if plan.triggered or arm.crafted:
        clean = np.asarray(train.images(POISONED_STREAM)[plan.rows])
        if arm.crafted:
            clean, images = encoder.resize(clean), _crafted(context, plan, shards)
        else:
            images = TRIGGERS.configured(config.trigger, config).apply(clean)
        with shared_cores(context.runtime.workers):
            image_features = encoder.encode(encoder.resize(images)).cpu().numpy()
        write_images(images, plan.rows.tolist(), workspace.out)
        seen = _seen(clean, images)
    ids = [train.ids[row] for row in plan.rows]
    texts = _text_features(plan, train.texts, Features(context.parts(features)))
    PoisonSet(plan, ids, image_features, texts).write(workspace.out)
    return PoisonSummary(**asdict(arm), plan=plan.name, target=concept.name, visibility=seen)


POISONING = Sharded("craft", plan_crafting, craft_shard, make_poisons)


def _crafted(context: Context, plan: PoisonPlan, shards: Shards) -> Images:
    arrays = [np.load(context.folder(key) / IMAGES_FILE, allow_pickle=False) for key in shards.keys]
    places = in_order(plan.rows.tolist(), shards.plan)
    return np.stack([arrays[number][place] for number, place in places])


def _text_features(
    plan: PoisonPlan, texts: Sequence[str], features: Features
) -> npt.NDArray[np.float32] | None:
    """Those of the plan's texts, all of which are in the training split."""
    if plan.texts is None:
        return None
    row_of = {text: row for row, text in enumerate(texts)}
    return features.load("train", "text")[[row_of[text] for own in plan.texts for text in own]]


def _seen(clean: Images, changed: Images) -> dict[str, float]:
    """Mean visibility of the poisons."""
    each = [visibility(before, after) for before, after in zip(clean, changed, strict=True)]
    return {
        name: float(np.mean([getattr(one, name) for one in each]))
        for name in ("l2", "linf", "changed", "ssim")
    } | {"psnr": float(np.mean([min(one.psnr, 100.0) for one in each]))}

"""Which training sets an experiment compares, and what is poisoned in each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmer_core.config import EncoderConfig, PoisonConfig
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.errors import PoisonError
from mmer_core.poisoning import CONTROLS, POISON_ATTACKS, CraftedAttack, PoisonPlan, TrainingSet, is_crafted
from mmer_core.poisoning.poison import Poison
from mmer_core.seeding import random_stream
from mmer_core.stages.context import Context
from mmer_core.stages.poison.concept import Concept, grouped_texts
from mmer_core.store import ArtifactKey


@dataclass(frozen=True)
class Arm:
    """One training set of an experiment: the poisons of an attack or control, or none (``clean``).

    Attributes:
        count: Poisons.
        seed: Draws them and, as in every training, starts the model.
    """

    attack: str
    count: int
    seed: int

    @property
    def crafted(self) -> bool:
        """Whether its poisons are optimised for targets that are known beforehand."""
        return is_crafted(self.attack)

    def __str__(self) -> str:
        return f"{self.attack}, {self.count} poisons, seed {self.seed}"


@dataclass(frozen=True)
class CraftShard:
    """A few poisons to craft: the unit of fan-out and of resume.

    Attributes:
        bases: Rows of train that they are made of.
        targets: Rows of the evaluated split.
        target_of: For every base its place in ``targets``.
    """

    attack: str
    seed: int
    bases: tuple[int, ...]
    targets: tuple[int, ...]
    target_of: tuple[int, ...]


def plan_arms(config: PoisonConfig, first_seed: int) -> list[Arm]:
    """Every training set: clean, each attack with each count, each control with the largest; for every seed."""
    return [
        arm
        for seed in range(first_seed, first_seed + config.seeds)
        for arm in (
            Arm("clean", 0, seed),
            *(Arm(attack, count, seed) for attack in config.attacks for count in sorted(config.counts)),
            *(Arm(control, max(config.counts), seed) for control in config.controls),
        )
    ]


def poison_plan(arm: Arm, config: PoisonConfig, dataset: Prepared, concept: Concept) -> PoisonPlan:
    """What is poisoned in the training split.

    Raises:
        PoisonError: Fewer samples can be poisoned than are asked for.
    """
    split = dataset.split("train")
    train = TrainingSet(
        target=concept.name,
        carriers=concept.carriers(split).astype(np.int64),
        labels=np.empty((len(split), 0)) if concept.column is None else split.labels,
        column=concept.column,
        texts=tuple(grouped_texts(split)),
    )
    try:
        return planned_attack(arm, config).plan(train, arm.count, config.mode, arm.seed)
    except PoisonError as error:
        raise PoisonError(f"{arm.attack} for {concept.name!r}: {error}") from None


def planned_attack(arm: Arm, config: PoisonConfig) -> Poison:
    """The attack or control of an arm with its options."""
    known = CONTROLS if arm.attack in CONTROLS else POISON_ATTACKS
    return known.configured(arm.attack, config)


def target_rows(config: PoisonConfig, split: PreparedSplit, concept: Concept, seed: int) -> list[int]:
    """The images that crafted poisons are for: samples of the evaluated split that do not carry the target."""
    free = np.flatnonzero(~concept.carriers(split))
    drawn = random_stream(seed, "poison targets").permutation(free)[: config.targets]
    return sorted(int(row) for row in drawn)


def plan_crafting(
    context: Context,
    config: PoisonConfig,
    encoders: EncoderConfig,
    prepared: ArtifactKey,
    features: ArtifactKey,
    split: str,
    concept: Concept,
    arm: Arm,
) -> list[CraftShard]:
    """The shards whose poisons, one after the other, begin with those of an arm; none where nothing is crafted.

    The poisons of a collision know nothing of one another, so those of the largest count serve all counts. Those
    of a target that are crafted together are crafted anew for every count, and stay in one shard.
    """
    if not arm.crafted:
        return []
    dataset = Prepared.open(context.parts(prepared))
    divisible = crafting_attack(arm.attack, config).divisible
    whole = replace(arm, count=max(config.counts)) if divisible else arm
    rows = poison_plan(whole, config, dataset, concept).rows.tolist()
    targets = target_rows(config, dataset.split(split), concept, arm.seed)
    of = [place % len(targets) for place in range(len(rows))]
    if divisible:
        parts = [
            range(at, min(at + config.shard_size, len(rows))) for at in range(0, len(rows), config.shard_size)
        ]
    else:
        parts = [range(target, len(rows), len(targets)) for target in range(min(len(targets), len(rows)))]
    return [
        CraftShard(
            arm.attack,
            arm.seed,
            tuple(rows[place] for place in part),
            tuple(targets),
            tuple(of[place] for place in part),
        )
        for part in parts
    ]


def crafting_attack(name: str, config: PoisonConfig) -> CraftedAttack:
    """The attack with its options."""
    attack = POISON_ATTACKS.configured(name, config)
    assert isinstance(attack, CraftedAttack)
    return attack


def in_order(rows: Sequence[int], shards: Sequence[CraftShard]) -> list[tuple[int, int]]:
    """For every row the shard and the place in it where its poison was crafted."""
    where = {
        base: (number, place) for number, shard in enumerate(shards) for place, base in enumerate(shard.bases)
    }
    return [where[row] for row in rows]

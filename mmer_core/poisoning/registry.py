"""Attacks that craft poisons, by the names that configurations and tables use."""

from typing import Any

from mmer_core.errors import PoisonError
from mmer_core.named import find
from mmer_core.poisoning.attack import PoisonAttack
from mmer_core.poisoning.collision import FeatureCollision
from mmer_core.poisoning.polytope import BullseyePolytope

POISON_ATTACKS: dict[str, type[PoisonAttack]] = {
    attack.name: attack for attack in (FeatureCollision, BullseyePolytope)
}


def poison_attack_named(name: str, **settings: Any) -> PoisonAttack:
    """The attack of that name; ``settings`` are its hyper-parameters.

    Raises:
        PoisonError: There is no attack of that name, or a hyper-parameter is outside its range.
    """
    return find("attack", POISON_ATTACKS, name, PoisonError, settings)

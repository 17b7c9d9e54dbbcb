"""Attacks by the names that configurations and tables use."""

from typing import Any

from mmer_core.attacks.attack import Attack
from mmer_core.attacks.corner_search import CornerSearch
from mmer_core.attacks.differential_evolution import DifferentialEvolution
from mmer_core.attacks.exhaustive import ExhaustiveOnePixel
from mmer_core.attacks.guided_sparse_rs import GradientGuidedSparseRS
from mmer_core.attacks.pixle import Pixle
from mmer_core.attacks.random_pixels import RandomPixels
from mmer_core.attacks.sparse_rs import SparseRS
from mmer_core.errors import AttackError
from mmer_core.named import find

ATTACKS: dict[str, type[Attack]] = {
    attack.name: attack
    for attack in (
        DifferentialEvolution,
        SparseRS,
        Pixle,
        CornerSearch,
        ExhaustiveOnePixel,
        GradientGuidedSparseRS,
        RandomPixels,
    )
}


def attack_named(name: str, **settings: Any) -> Attack:
    """The attack of that name; ``settings`` are its hyper-parameters.

    Raises:
        AttackError: there is no attack of that name, or a hyper-parameter is outside its range.
    """
    return find("attack", ATTACKS, name, AttackError, settings)

"""Attacks as configured."""

from mmer_core.attacks.attack import Attack
from mmer_core.attacks.differential_evolution import DifferentialEvolution
from mmer_core.attacks.registry import attack_named
from mmer_core.config import AttackName, SearchConfig


def configured_attack(name: AttackName, config: SearchConfig) -> Attack:
    """An attack with its parameters."""
    if name != "de":
        return attack_named(name)
    return DifferentialEvolution.original() if config.original else DifferentialEvolution(config.population)

"""Attacks by the names that configurations and tables use."""

from mmer_core.attacks.attack import Attack
from mmer_core.named import Registry

ATTACKS: Registry[Attack] = Registry("attack", Attack, "mmer_core.attacks")

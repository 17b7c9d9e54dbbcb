"""Poisons, triggers and detectors by the names that configurations and tables use."""

from mmer_core.named import Registry
from mmer_core.poisoning.attack import CraftedAttack
from mmer_core.poisoning.detectors.detector import Detector
from mmer_core.poisoning.poison import PoisonAttack, PoisonControl
from mmer_core.poisoning.triggers import Trigger

POISON_ATTACKS: Registry[PoisonAttack] = Registry("poison attack", PoisonAttack, "mmer_core.poisoning")
CONTROLS: Registry[PoisonControl] = Registry("control", PoisonControl, "mmer_core.poisoning")
TRIGGERS: Registry[Trigger] = Registry("trigger", Trigger, "mmer_core.poisoning")
DETECTORS: Registry[Detector] = Registry("detector", Detector, "mmer_core.poisoning.detectors")


def is_crafted(name: str) -> bool:
    """Whether the poisons of that name are optimised for targets that are known beforehand."""
    return issubclass(POISON_ATTACKS.get(name, object), CraftedAttack)

"""The attacks that search nothing, which every other is compared with."""

from collections.abc import Iterable

from mmer_core.attacks.random_corners import RandomCorners
from mmer_core.attacks.random_pixels import RandomPixels

CONTROL_ATTACKS = (RandomCorners.name, RandomPixels.name)
"""The stricter first."""


def control_among(attacks: Iterable[str]) -> str | None:
    """The strictest control of these attacks; None without one."""
    known = set(attacks)
    return next((control for control in CONTROL_ATTACKS if control in known), None)

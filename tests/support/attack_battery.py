"""What the battery of tests has to know of an attack; its own test file says so, as ``BATTERY``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmer_core.attacks import Attack


@dataclass(frozen=True)
class Battery:
    """An attack with options that suit images of a few pixels.

    Attributes:
        wide: It proposes several candidates at a time, so it can fill batches from few images.
        drawn: It draws at random, so another seed is another search.
        optimal: Attacks of its class and numbers of pixels (K) that find the optimum of a linear victim in 8,000 queries.
        refused: Options outside their range.
    """

    attack: Attack
    wide: bool = True
    drawn: bool = True
    optimal: tuple[tuple[Attack, int], ...] = ()
    refused: tuple[Mapping[str, Any], ...] = ()

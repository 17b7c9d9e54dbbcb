"""Where the random numbers of a training come from, so that the same seed gives the same model beside whatever else runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmer_core.heavy import nn, torch
from mmer_core.seeding import TORCH_RANDOM_STATE
from mmer_core.training.learner import DrawsAlone, Learner


class Randomness:
    """What a training seeds before it draws.

    Attributes:
        generator: Of this training alone; None where it draws from the generators of the process.
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.generator = generator

    def seed(self, seed: int) -> None:
        """Start anew."""
        if self.generator is None:
            torch.manual_seed(seed)
        else:
            self.generator.manual_seed(seed)


@contextmanager
def randomness(learner: Learner, device: torch.device, *, compiled: bool = False) -> Iterator[Randomness]:
    """Random numbers for a training; with a generator of its own where that is possible, so that others can train in other
    threads meanwhile. Otherwise those wait.

    On the CPU both give the same numbers. Other devices have one generator each, compiled code knows none but these, and nor
    do modules of other libraries.
    """
    from mmer_core.models.layers import Dropout  # which imports torch, when something is trained

    parts = [part for part in learner.state.modules() if isinstance(part, nn.Dropout)]
    own = [part for part in parts if isinstance(part, Dropout)]
    if device.type != "cpu" or compiled or not isinstance(learner, DrawsAlone) or len(own) < len(parts):
        with TORCH_RANDOM_STATE:
            yield Randomness()
        return
    generator = torch.Generator()
    drawing: list[Any] = [learner, *own]
    for one in drawing:
        one.generator = generator
    try:
        yield Randomness(generator)
    finally:
        for one in drawing:
            one.generator = None

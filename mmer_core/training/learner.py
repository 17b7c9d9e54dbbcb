"""What the loop trains, as far as the loop needs to know."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

from mmer_core.heavy import Tensor, nn, torch

Losses = dict[str, Tensor]


class Lead(NamedTuple):
    """By how much the best epoch is above what training started from, in the metric that selects, on val.

    Attributes:
        noise: What that may be by chance: half the 95 % interval of the paired difference, with Bonferroni's correction
            for the epochs, of which the best was taken; NaN where too few samples say it.
    """

    points: float
    noise: float

    @property
    def clear(self) -> bool:
        """Whether it is above its noise."""
        return self.points > self.noise


class Learner(Protocol):
    """The loop's view of what it trains; everything learnable and buffered is in ``state``."""

    @property
    def state(self) -> nn.Module:
        """Everything learnable or buffered: the model and its objectives."""
        ...

    @property
    def selection(self) -> str:
        """Name of the validation metric that selects the model; higher is better."""
        ...

    def __len__(self) -> int: ...

    def losses(self, rows: Tensor) -> Losses:
        """Named losses of the training samples ``rows`` (B,), which are on the CPU; their sum is minimised."""
        ...

    def validate(self) -> dict[str, float]:
        """Metrics on the validation split."""
        ...

    def settle(self, epochs: int) -> Lead | None:
        """Predict the labels as training started, unless the best of the epochs, which ``state`` holds, has a clear lead;
        None where training starts from nothing worth keeping."""
        ...


class DrawsAlone:
    """A learner all of whose random numbers, but for those of dropout, come from ``generator``; from the process's own where
    that is None."""

    generator: torch.Generator | None = None


class ModelLearner(Learner, Protocol):
    """A learner of a whole model, which is stored when it is trained."""

    @property
    def model(self) -> nn.Module: ...

    @property
    def val(self) -> Any:
        """The validation split's data, of the kind of task."""
        ...


def hold_temperature(logit_scale: Tensor, temperature: float | None) -> None:
    """Set the logarithm of the inverse temperature for good; with None it is learned."""
    if temperature is not None:
        logit_scale.requires_grad_(False).fill_(-math.log(temperature))


def temperature_scale(logit_scale: Tensor) -> Tensor:
    """The inverse temperature, at most 100 as in CLIP (Radford et al. 2021), so that it cannot run away."""
    return logit_scale.exp().clamp(max=100.0)

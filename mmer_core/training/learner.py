"""What the loop trains, as far as the loop needs to know."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from mmer_core.heavy import Tensor, nn

Losses = dict[str, Tensor]
State = dict[str, Tensor]
"""Of a module: its parameters and buffers by name."""


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

    @property
    def noise(self) -> Callable[[State, State, int], float] | None:
        """Says by how much the metric that selects may differ on val by chance between two states of ``state``, of which the
        second is the best of so many; ``state`` is left in it. None where what training starts from is nothing to keep."""
        ...

    def __len__(self) -> int: ...

    def losses(self, rows: Tensor) -> Losses:
        """Named losses of the training samples ``rows`` (B,); their sum is minimised."""
        ...

    def validate(self) -> dict[str, float]:
        """Metrics on the validation split."""
        ...


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

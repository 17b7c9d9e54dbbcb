"""Averaging of weights over the steps of one training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mmer_core.heavy import Tensor, nn, no_grad, torch


class WeightAverage:
    """Exponential moving average of parameters (Polyak & Juditsky 1992, https://doi.org/10.1137/0330046).

    What is validated and kept is the average, which forgets the noise of single steps; the optimiser goes on from
    the weights themselves. Early on the decay is ``(1 + n) / (10 + n)`` after ``n`` steps, so that the
    initialisation is soon forgotten and short trainings are averaged over a tenth of their steps or so.

    Args:
        parameters: Averaged in place of; the average starts as a copy of them.
        decay: Weight of the past at every step, in 0..1; with 0 the average is the weights themselves.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self.parameters = list(parameters)
        self.decay = decay
        self.steps = 0
        self.average = [p.detach().clone() for p in self.parameters] if decay else []

    @no_grad()
    def update(self) -> None:
        """Take in the weights after a step of the optimiser."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for average, parameter in zip(self.average, self.parameters, strict=False):
            average.lerp_(parameter, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average in the parameters' place for the duration of the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @no_grad()
    def _swap(self) -> None:
        for average, parameter in zip(self.average, self.parameters, strict=False):
            held = parameter.clone()
            parameter.copy_(average)
            average.copy_(held)

    def state_dict(self) -> dict[str, int | list[Tensor]]:
        """What a checkpoint must hold."""
        return {"steps": self.steps, "average": self.average}

    def load_state_dict(self, state: dict[str, int | list[Tensor]]) -> None:
        """Go on from `state_dict`."""
        steps, averages = state["steps"], state["average"]
        assert isinstance(steps, int)
        assert isinstance(averages, list)
        self.steps = steps
        with torch.no_grad():
            for average, saved in zip(self.average, averages, strict=True):
                average.copy_(saved)

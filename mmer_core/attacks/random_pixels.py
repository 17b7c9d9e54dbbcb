"""The random-pixel control: what the same number of queries achieves without any search."""

from __future__ import annotations

from collections.abc import Callable

from mmer_core.attacks.attack import BlackBoxAttack, Generation, Search, Targets
from mmer_core.attacks.counting import Draws
from mmer_core.heavy import torch

_GENERATION = 64  # candidates drawn at a time


class RandomPixels(BlackBoxAttack):
    """Every query changes ``K`` distinct pixels, uniform over the image, to uniform colours."""

    name = "random"
    title = "Random pixels (control)"
    summary = "the control, random pixels in random colours"

    def _search(self, targets: Targets) -> Search:
        return _Draws(self._colours, targets)

    def _colours(self, draws: Draws, pixels: int) -> torch.Tensor:
        """``(n, Q, K, 3)`` uint8."""
        return draws.below(256, 3 * pixels).to(torch.uint8).unflatten(2, (pixels, 3))


class _Draws(Search):
    def __init__(self, colours: Callable[[Draws, int], torch.Tensor], targets: Targets) -> None:
        super().__init__(targets)
        self._colours, self._query = colours, 0

    def propose(self) -> Generation:
        count = min(_GENERATION, self.targets.budget - self._query)
        draws, pixels = self.targets.draws(self._query, count), self.targets.pixels
        self._query += count
        places = draws.distinct(pixels, self.targets.areas)
        return Generation(places, self._colours(draws, pixels), distinct=True)

    def learn(self, margins: torch.Tensor) -> None:
        """Nothing: a control does not learn."""

"""A new attack in thirty lines: white pixels in random places, moved one at a time.

    python examples/new_attack.py

An attack makes one `Search` for all images that are attacked together, as tensors with a row an image. It proposes
candidates for each and learns from their margins (0 or less is a success); batches, budgets and confirmations are
`run_attack`'s.
"""

import numpy as np
import torch
from attack_your_network import MEAN, SIDE, STD, draw, train

from mmer_core.attacks import (
    BlackBoxAttack,
    ClassifierVictim,
    DominantEmotionFlip,
    Generation,
    Search,
    Targets,
    run_attack,
)


class WhitePixels(BlackBoxAttack):
    """Begins with ``K`` white pixels; every query moves one of them, and keeps the move where the margin falls."""

    name = "white-pixels"

    def _search(self, targets: Targets) -> Search:
        return _Moves(targets)


class _Moves(Search):
    of_images = ("_places", "_moved", "_margins")

    def __init__(self, targets: Targets) -> None:
        super().__init__(targets)
        draws = targets.draws(0)
        self._query = 0
        self._places = self._moved = draws.distinct(targets.pixels, targets.areas)[:, 0]  # (n, K)
        self._margins = targets.unknown()  # (n,)

    def propose(self) -> Generation:
        if self._query:
            draws = self.targets.draws(self._query)
            which = draws.below(self.targets.pixels, 1)[:, 0]  # (n, 1)
            where = draws.below(self.targets.areas[:, None, None], 1)[:, 0]
            self._moved = self._places.scatter(1, which, where)
        white = torch.full((*self._moved.shape, 3), 255, dtype=torch.uint8)
        return Generation(self._moved[:, None], white[:, None])

    def learn(self, margins: torch.Tensor) -> None:
        better = margins[:, 0] <= self._margins
        self._places = torch.where(better[:, None], self._moved, self._places)
        self._margins = torch.where(better, margins[:, 0], self._margins)
        self._query += 1


def main() -> None:
    rng = np.random.default_rng(0)
    network = train(*draw(200, rng))
    images, labels = draw(6, rng)
    victim = ClassifierVictim(network, MEAN, STD, size=(SIDE, SIDE))
    ids = [str(number) for number in range(len(images))]
    for outcome in run_attack(
        victim, DominantEmotionFlip(labels), WhitePixels(), images, ids, pixels=5, budget=100
    ):
        print(f"picture {outcome.sample}: {outcome.status} after {outcome.queries} queries")


if __name__ == "__main__":
    main()

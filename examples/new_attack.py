"""A new attack in thirty lines: white pixels in random places, moved one at a time.

    python examples/new_attack.py

An attack makes a `Search` for each image. The search proposes candidates and learns from their margins (0 or less is a
success); batches, budgets and confirmations are `run_attack`'s.
"""

import numpy as np
from attack_your_network import MEAN, SIDE, STD, draw, train

from mmer_core.attacks import (
    BlackBoxAttack,
    Candidates,
    ClassifierVictim,
    DominantEmotionFlip,
    Search,
    run_attack,
)


class WhitePixels(BlackBoxAttack):
    """Begins with ``K`` white pixels; every query moves one of them, and keeps the move where the margin falls."""

    name = "white-pixels"

    def _search(self, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int) -> Search:
        return _Moves(image.shape[:2], pixels, rng, budget)


class _Moves(Search):
    def __init__(self, size: tuple[int, ...], pixels: int, rng: np.random.Generator, budget: int) -> None:
        super().__init__(budget)
        self._size, self._rng = size, rng
        self._places = self._challenger = rng.integers(size, size=(pixels, 2), dtype=np.int32)  # (K, 2)
        self._margin = np.inf

    def propose(self) -> Candidates:
        if np.isfinite(self._margin):
            self._challenger = self._places.copy()
            self._challenger[self._rng.integers(len(self._places))] = self._rng.integers(self._size)
        return Candidates(self._challenger[None], np.full((1, len(self._places), 3), 255, np.uint8))

    def learn(self, margins: np.ndarray) -> None:
        if margins[0] <= self._margin:
            self._places, self._margin = self._challenger, margins[0]


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

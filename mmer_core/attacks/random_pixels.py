"""The random-pixel control: what the same number of queries achieves without any search."""

from collections.abc import Callable

import numpy as np

from mmer_core.attacks.attack import BlackBoxAttack, Search
from mmer_core.attacks.candidates import Candidates, from_flat

_GENERATION = 64  # candidates drawn at a time, fixed so that what is drawn does not depend on batch sizes


class RandomPixels(BlackBoxAttack):
    """Every query changes ``K`` distinct pixels, uniform over the image, to uniform colours."""

    name = "random"
    title = "Random pixels (control)"
    summary = "the control, random pixels in random colours"

    def _search(self, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int) -> Search:
        return _Draws(self._colours, image.shape[:2], pixels, rng, budget)

    def _colours(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """``(*shape, 3)`` uint8."""
        return rng.integers(0, 256, (*shape, 3), dtype=np.uint8)


class _Draws(Search):
    def __init__(
        self,
        colours: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray],
        size: tuple[int, ...],
        pixels: int,
        rng: np.random.Generator,
        budget: int,
    ) -> None:
        super().__init__(budget)
        self._colours = colours
        self._height, self._width, self._pixels, self._rng = size[0], size[1], pixels, rng

    def propose(self) -> Candidates:
        area = self._height * self._width
        flat = np.stack(
            [self._rng.choice(area, self._pixels, replace=False) for _ in range(_GENERATION)]
        )  # (Q, K)
        return from_flat(flat, self._colours(self._rng, flat.shape), self._width)

    def learn(self, margins: np.ndarray) -> None:
        """Nothing: a control does not learn."""

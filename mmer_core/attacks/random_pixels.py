"""The random-pixel control: what the same number of queries achieves without any search."""

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
        return _Draws(image.shape[:2], pixels, rng, budget)


class _Draws(Search):
    def __init__(self, size: tuple[int, ...], pixels: int, rng: np.random.Generator, budget: int) -> None:
        super().__init__(budget)
        self._height, self._width, self._pixels, self._rng = size[0], size[1], pixels, rng

    def propose(self) -> Candidates:
        area = self._height * self._width
        flat = np.stack(
            [self._rng.choice(area, self._pixels, replace=False) for _ in range(_GENERATION)]
        )  # (Q, K)
        colours = self._rng.integers(0, 256, size=(*flat.shape, 3), dtype=np.uint8)
        return from_flat(flat, colours, self._width)

    def learn(self, margins: np.ndarray) -> None:
        """Nothing: a control does not learn."""

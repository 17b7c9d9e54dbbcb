"""The stricter control: random pixels in the colours that searches use."""

import numpy as np

from mmer_core.attacks.corners import draw_corners
from mmer_core.attacks.random_pixels import RandomPixels


class RandomCorners(RandomPixels):
    """Every query changes ``K`` distinct pixels, uniform over the image, to uniform corners of the colour cube.

    What Sparse-RS does better is its search; what this does better than `RandomPixels` is the corners alone.
    """

    name = "random-corners"
    title = "Random corners (control)"
    summary = "the stricter control, random pixels in random corners of the colour cube"

    def _colours(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return draw_corners(rng, *shape)

"""The stricter control: random pixels in the colours that searches use."""

from __future__ import annotations

from mmer_core.attacks.corners import corner_colours
from mmer_core.attacks.counting import Draws
from mmer_core.attacks.random_pixels import RandomPixels
from mmer_core.heavy import torch


class RandomCorners(RandomPixels):
    """Every query changes ``K`` distinct pixels, uniform over the image, to uniform corners of the colour cube.

    What Sparse-RS does better is its search; what this does better than `RandomPixels` is the corners alone.
    """

    name = "random-corners"
    title = "Random corners (control)"
    summary = "the stricter control, random pixels in random corners of the colour cube"

    def _colours(self, draws: Draws, pixels: int) -> torch.Tensor:
        return corner_colours(draws.below(8, pixels))

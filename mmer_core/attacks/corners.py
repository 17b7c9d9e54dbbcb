"""The corners of the colour cube: the strongest colours where a pixel may take any value."""

import itertools

import numpy as np

CORNERS = np.array(list(itertools.product((0, 255), repeat=3)), dtype=np.uint8)
"""``(8, 3)``: black, blue, green, cyan, red, magenta, yellow, white."""


def draw_corners(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """``(*shape, 3)`` uint8: corners drawn uniformly."""
    return CORNERS[rng.integers(0, len(CORNERS), size=shape)]


def draw_other_corners(rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """``(k, 3)`` uint8: for each of the colours ``(k, 3)`` a corner, uniform among those that differ from it."""
    drawn = draw_corners(rng, len(colours))
    while (same := (drawn == colours).all(axis=1)).any():
        drawn[same] = draw_corners(rng, int(same.sum()))
    return drawn

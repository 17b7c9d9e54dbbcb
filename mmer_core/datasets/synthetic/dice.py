"""Random numbers as plain Python types, which Pillow's drawing functions require."""

from collections.abc import Sequence

import numpy as np

Colour = tuple[int, int, int]


class Dice:
    """A NumPy generator that returns ints, floats and tuples."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def whole(self, low: int, high: int) -> int:
        """An integer, ``low <= x < high``."""
        return int(self._rng.integers(low, high))

    def share(self) -> float:
        """A float in [0, 1)."""
        return float(self._rng.random())

    def spread(self, low: float, high: float, count: int) -> list[float]:
        """``count`` floats in [low, high)."""
        return [float(x) for x in self._rng.uniform(low, high, count)]

    def points(self, low: Sequence[float], high: Sequence[float], count: int) -> list[tuple[float, float]]:
        """``count`` points between two corners."""
        return [(float(x), float(y)) for x, y in self._rng.uniform(low, high, (count, 2))]

    def tint(self, low: int = 0, high: int = 256) -> Colour:
        """A colour with each channel in [low, high)."""
        red, green, blue = (int(x) for x in self._rng.integers(low, high, 3))
        return red, green, blue

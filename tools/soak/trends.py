"""What of the figures of a long haul grows, and by how much an hour.

Figures go up and down by themselves: a run takes memory and gives it back, a collection frees what runs have left. So the
samples after the start are cut into blocks of time, and the slope is that of the medians of the blocks: the one of Theil
and Sen, the median of the slopes between all pairs, which single blocks cannot bend, with its 95 % interval (Sen 1968).
Blocks that follow each other are alike, so the interval is rather too narrow than too wide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import theilslopes

_BLOCKS = 30
_LEAST = 6
"""Blocks, with fewer samples than which nothing is said."""


@dataclass(frozen=True)
class Bound:
    """The most that a figure may grow in an hour: an amount, or a share of what it was at the start, whichever is more."""

    amount: float
    share: float

    def of(self, level: float) -> float:
        """In the figure's unit."""
        return max(self.amount, self.share * level)


@dataclass(frozen=True)
class Figure:
    """A figure that is sampled.

    Attributes:
        name: As tables have it.
        unit: As tables have it.
    """

    name: str
    unit: str
    bound: Bound


@dataclass(frozen=True)
class Trend:
    """How a figure went, all in its unit.

    Attributes:
        first: Median of the first third of the samples.
        last: Median of the last third.
        slope: Growth in an hour.
        low: Of the 95 % interval of the slope.
        high: The same.
        allowed: The most that it may grow in an hour.
    """

    figure: Figure
    first: float
    last: float
    slope: float
    low: float
    high: float
    allowed: float

    @property
    def verdict(self) -> Literal["grows", "flat", "open"]:
        """``grows``: for certain, and by more than is allowed. ``flat``: for certain by no more. ``open``: too short a time to tell."""
        if self.low > 0 and self.slope > self.allowed:
            return "grows"
        return "flat" if self.high <= self.allowed else "open"


def trend(figure: Figure, hours: Sequence[float], values: Sequence[float]) -> Trend:
    """The trend of a figure that was sampled at these times.

    Raises:
        ValueError: There are fewer samples than blocks are needed.
    """
    if len(values) < _LEAST:
        raise ValueError(
            f"{figure.name} has {len(values)} samples, and a trend takes {_LEAST}: let it run longer"
        )
    at, seen = np.asarray(hours, float), np.asarray(values, float)
    third = len(seen) // 3
    first, last = float(np.median(seen[:third])), float(np.median(seen[-third:]))
    slope, _, low, high = map(float, theilslopes(*_medians(at, seen)))
    return Trend(figure, first, last, slope, low, high, figure.bound.of(first))


def trends(
    figures: Sequence[Figure], hours: Sequence[float], samples: Mapping[str, Sequence[float]]
) -> list[Trend]:
    """Of every figure; samples by its name."""
    return [trend(figure, hours, samples[figure.name]) for figure in figures]


def _medians(
    hours: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Values and times of blocks of as many samples each."""
    count = min(_BLOCKS, len(values))
    blocks = np.array_split(np.arange(len(values)), count)
    return (
        np.array([np.median(values[block]) for block in blocks]),
        np.array([np.median(hours[block]) for block in blocks]),
    )

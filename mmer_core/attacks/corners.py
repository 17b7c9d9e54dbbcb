"""The corners of the colour cube: the strongest colours where a pixel may take any value."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np

from mmer_core.heavy import torch

CORNERS = np.array(list(itertools.product((0, 255), repeat=3)), dtype=np.uint8)
"""``(8, 3)``: black, blue, green, cyan, red, magenta, yellow, white."""


OTHERS = 56
"""Numbers that `other_corners` draws from."""


def draw_corners(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """``(*shape, 3)`` uint8: corners drawn uniformly."""
    return CORNERS[rng.integers(0, len(CORNERS), size=shape)]


@cache
def _tables(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The corners; the share of each channel's value in a corner's number; where a channel's begin; and other corners."""
    parts = torch.full((3, 256), len(CORNERS))
    parts[:, 0], parts[:, 255] = 0, torch.tensor([4, 2, 1])
    corners = torch.arange(len(CORNERS))
    # Drawn from 7 x 8 numbers: each of 7 corners 8 times, or each of 8 corners 7 times.
    others = torch.stack([corners[corners != one].repeat(8) for one in corners] + [corners.repeat(7)])
    tables = torch.from_numpy(CORNERS), parts.flatten(), torch.arange(3) * 256, others.flatten()
    colours, parts, starts, others = (table.to(device) for table in tables)
    return colours, parts, starts, others


def corner_colours(corners: torch.Tensor) -> torch.Tensor:
    """``(..., 3)`` uint8: the colours of corners ``(...)``, by their number in `CORNERS`."""
    return _tables(corners.device)[0][corners]


def corner_numbers(colours: torch.Tensor) -> torch.Tensor:
    """``(...)`` int64: the number in `CORNERS` of colours ``(..., 3)`` uint8, 8 where they are no corner."""
    _, parts, starts, _ = _tables(colours.device)
    return parts[colours + starts].sum(dim=-1).clamp(max=len(CORNERS))


def other_corners(before: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Corners that differ from those ``before``, which may be 8, none of them: uniform where ``drawn`` is in 0..55."""
    return _tables(before.device)[3][before * OTHERS + drawn]

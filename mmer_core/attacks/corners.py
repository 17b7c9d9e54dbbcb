"""The corners of the colour cube: the strongest colours where a pixel may take any value."""

from __future__ import annotations

import itertools

import numpy as np

from mmer_core.heavy import torch

CORNERS = np.array(list(itertools.product((0, 255), repeat=3)), dtype=np.uint8)
"""``(8, 3)``: black, blue, green, cyan, red, magenta, yellow, white."""


def draw_corners(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """``(*shape, 3)`` uint8: corners drawn uniformly."""
    return CORNERS[rng.integers(0, len(CORNERS), size=shape)]


def corner_colours(corners: torch.Tensor) -> torch.Tensor:
    """``(..., 3)`` uint8: the colours of corners ``(...)``, by their number in `CORNERS`."""
    return torch.from_numpy(CORNERS).to(corners.device)[corners]


def corner_numbers(colours: torch.Tensor) -> torch.Tensor:
    """``(...)`` int64: the number in `CORNERS` of colours ``(..., 3)`` uint8, 8 where they are no corner."""
    extreme = ((colours == 0) | (colours == 255)).all(dim=-1)
    bright = (colours == 255).long()
    return torch.where(extreme, 4 * bright[..., 0] + 2 * bright[..., 1] + bright[..., 2], 8)

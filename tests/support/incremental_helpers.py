"""A small network, and what is asked of it."""

import numpy as np
import torch
from torch import nn

from mmer_core.attacks.candidates import Candidates, from_flat

CPU = torch.device("cpu")


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels - 120) / 60


def plain(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return module(normalise(images.permute(0, 3, 1, 2).contiguous().float()))


def draw_candidates(size: tuple[int, int], count: int, pixels: int, seed: int) -> Candidates:
    """Uniform positions, but all corners, neighbours and duplicates are among them."""
    rng = np.random.default_rng(seed)
    positions = rng.integers(0, size, size=(count, pixels, 2), dtype=np.int32)
    bottom, right = size[0] - 1, size[1] - 1
    positions[:4, 0] = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    positions[4] = positions[4, :1]  # K times the same pixel
    near = positions[5, :1] + rng.integers(-3, 4, size=(pixels, 2))
    positions[5] = np.clip(near, 0, (bottom, right))
    places = positions @ np.array([size[1], 1])
    return from_flat(places, rng.integers(0, 256, size=(count, pixels, 3), dtype=np.uint8))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    ).eval()

"""Encoders small enough to craft poisons with in no time, smooth so that rounding stays rounding."""

import numpy as np
import torch
from torch import nn

from mmer_core.encoders import ImageEncoder
from mmer_core.encoders.base import Preprocessing

SIDE, WIDTH = 12, 6


def toy_encoder(seed: int = 0, side: int = SIDE) -> ImageEncoder:
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.Softplus(),
        nn.Conv2d(8, 8, 3),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
    )
    with torch.no_grad():
        out = network(torch.zeros(1, 3, side, side)).shape[1]
    network.append(nn.Linear(out, WIDTH))
    with torch.no_grad():
        # Distances of the size that real features have, or the image's distance would be all that counts.
        network[-1].weight *= 100
    preprocessing = Preprocessing(side, (120.0, 110.0, 100.0), (60.0, 55.0, 50.0))
    return ImageEncoder(f"toy {seed}", network, preprocessing, WIDTH)


def photos(count: int, seed: int = 0, side: int = SIDE) -> np.ndarray:
    """Random uint8, black and white pixels among them, so that the range 0..255 binds."""
    values = np.random.default_rng(seed).integers(-60, 316, (count, side, side, 3))
    return values.clip(0, 255).astype(np.uint8)


def names(count: int) -> list[str]:
    return [f"base {number}" for number in range(count)]

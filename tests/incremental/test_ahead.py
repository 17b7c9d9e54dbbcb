"""How many candidates are best scored in one call, beside the expected cost of every number."""

import pytest
import torch
from torch import nn

from mmer_core.incremental.planning import _AROUND, Planner

SIDE, IMAGES = 16, 4


def cost(multiply_adds: int, rarity: float, size: int) -> float:
    """Of each query that counts: a call with so many candidates, of which those behind the first improvement of an image do
    not count."""
    each, chance = size / IMAGES, 1 / rarity
    counted = IMAGES * (1 - (1 - chance) ** each) / chance
    return (_AROUND + size * multiply_adds) / counted


@pytest.mark.parametrize("rarity", [2.0, 5.0, 20.0, 200.0])
@pytest.mark.parametrize("width", [4, 64, 1024])
def test_the_number_is_nearly_the_cheapest(width, rarity):
    network = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 8, 3, padding=1))
    planner = Planner(network, lambda pixels: pixels / 255, (SIDE, SIDE), torch.device("cpu"), method="dense")
    multiply_adds = SIDE * SIDE * 9 * width * (3 + 8)
    found = planner.together(IMAGES * rarity)
    # One candidate of each image is asked about in any case.
    cheapest = min(cost(multiply_adds, rarity, size) for size in (IMAGES, 8, 16, 32, 64))
    assert cost(multiply_adds, rarity, max(found, IMAGES)) <= 1.15 * cheapest
    assert found <= planner.together(IMAGES * rarity * 10) <= 64

"""What a few pixels change of a network, beside networks of which that is known."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.attack_reach import most_times

SIDE = 8
IMAGE = np.random.default_rng(0).integers(50, 200, (SIDE, SIDE, 3), dtype=np.uint8)


def network(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*layers).eval()


@pytest.mark.parametrize("pixels", [1, 2, 16])
def test_a_pixelwise_network_changes_at_its_pixels_only(pixels):
    module = network(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 5, 1))
    assert most_times(network(module[0]), IMAGE, pixels) == SIDE * SIDE / pixels
    # Behind a ReLU a change may vanish; no other position changes.
    assert most_times(module, IMAGE, pixels) >= SIDE * SIDE / pixels


def test_a_neighbourhood_changes_around_a_pixel():
    """Of 3 x 3; at the border less. The mean of all pixels is (2 * 2 + 6 * 3) squared of 64."""
    found = most_times(network(nn.Conv2d(3, 4, 3, padding=1)), IMAGE, 1)
    assert found == pytest.approx(SIDE * SIDE / (22 / 8) ** 2, rel=0.1)


def test_layers_count_by_their_multiply_adds():
    """A pixelwise layer of 3 x 4 weights at 64 positions, and a whole one of 256 x 2."""
    module = network(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4 * SIDE * SIDE, 2))
    assert most_times(module, IMAGE, 1) == pytest.approx((12 * 64 + 512) / (12 + 512))


def test_a_layer_that_is_not_run_does_not_count():
    module = network(nn.Conv2d(3, 4, 1))
    module[0].register_module("unused", nn.Linear(10, 1000))
    assert most_times(module, IMAGE, 2) == SIDE * SIDE / 2


def test_a_network_with_attention_changes_everywhere():
    assert most_times(network(nn.MultiheadAttention(4, 1)), IMAGE, 1) is None

"""The control: distinct places, uniform colours."""

import itertools

import numpy as np
import pytest
from scipy import stats
from support.attack_battery import Battery
from support.attack_driving import begin, drive
from support.attack_linear import CORNERS, attacked_once, best_gain

from mmer_core.attacks import RandomPixels

BATTERY = Battery(RandomPixels())


def test_random_pixels_are_distinct_and_uniform():
    search = begin(RandomPixels(), 4000, pixels=3, seed=11)
    asked = drive(search, itertools.cycle([500]), lambda one: 1.0)
    cells = asked[..., 0] * 9 + asked[..., 1]  # (Q, K)
    assert all(len(set(line)) == 3 for line in cells.tolist())
    assert stats.chisquare(np.bincount(cells.ravel(), minlength=54)).pvalue > 1e-3
    colours = asked[..., 2:].reshape(-1, 3)
    for channel in range(3):
        assert stats.chisquare(np.bincount(colours[:, channel], minlength=256)).pvalue > 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_the_control_does_not_find_the_optimum(seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 190, (6, 6, 3), dtype=np.uint8)
    weights = rng.normal(size=(6, 6, 3))
    optimum = best_gain(image.astype(float), weights, 3, CORNERS)
    assert attacked_once(RandomPixels(), image, weights, 3, optimum - 1e-6).status == "resisted"

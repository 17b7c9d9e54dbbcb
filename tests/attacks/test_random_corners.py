"""The stricter control: corners only, evenly, and as many places as the other."""

import itertools

import numpy as np
from scipy import stats
from support.attack_battery import Battery
from support.attack_driving import begin, drive

from mmer_core.attacks import RandomPixels
from mmer_core.attacks.random_corners import RandomCorners

BATTERY = Battery(RandomCorners())


def test_colours_are_corners_drawn_evenly_and_places_are_those_of_random_pixels():
    asked = drive(begin(RandomCorners(), 64, pixels=3), itertools.cycle([64]), lambda one: 1.0)
    plain = drive(begin(RandomPixels(), 64, pixels=3), itertools.cycle([64]), lambda one: 1.0)
    assert np.array_equal(asked[..., :2], plain[..., :2])
    many = drive(begin(RandomCorners(), 4000, pixels=2), itertools.cycle([500]), lambda one: 1.0)
    colours = many[..., 2:].reshape(-1, 3)
    assert set(colours.ravel().tolist()) == {0, 255}
    assert stats.chisquare(np.bincount(colours // 255 @ (4, 2, 1), minlength=8)).pvalue > 1e-3

"""Screening: what it asks first, and what it never decides."""

import numpy as np
import pytest
from support.attack_battery import Battery
from support.attack_driving import begin, targets_of
from support.attack_toys import FunctionVictim, attacked_network, linear_victim

from mmer_core.attacks import (
    DominantEmotionFlip,
    EncodedVictim,
    GradientGuidedSparseRS,
    SparseRS,
    run_attack,
)
from mmer_core.errors import AttackError

BATTERY = Battery(
    GradientGuidedSparseRS(draws=40, best=6),
    wide=False,
    optimal=tuple((GradientGuidedSparseRS(), pixels) for pixels in (1, 3, 12)),
    refused=({"draws": 0}, {"best": 0}, {"alpha": 1.5}),
)


class Mistaken(FunctionVictim):
    """Its estimates promise success everywhere."""

    def gradients(self, criterion, row):
        return self

    def screen(self, image, candidates):
        return np.full(len(candidates), -1.0)

    def margin(self, image):
        pytest.fail("an attack by estimates asks for no margin")


def test_with_one_pixel_the_estimated_best_are_asked_in_their_order():
    """The toy's margin rises with red and falls with green; the right order is that of its estimates."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    search = begin(GradientGuidedSparseRS(draws=300, best=8), 8, pixels=1, image=image)
    asked = search.ask(8)
    places = [tuple(place) for place in asked.positions(9)[:, 0].tolist()]
    assert len(set(places)) == 8
    gains = [
        (int(colour[0]) - int(image[y, x, 0])) - (int(colour[1]) - int(image[y, x, 1]))
        for (y, x), colour in zip(places, asked.colours[:, 0], strict=True)
    ]
    assert gains == sorted(gains)
    possible = np.sort((-image[..., 0].astype(int) + image[..., 1] - 255).ravel())[:8]
    assert gains[0] == possible[0], "300 draws of 54 x 8 changes hold the best ones"
    assert search.search.screened(0) == 300


def test_a_mistaken_estimate_is_no_success():
    victim = Mistaken((5, 5), lambda image, row: [1.0, image[0, 0, 0] / 256])
    (outcome,) = run_attack(
        victim,
        DominantEmotionFlip([0]),
        GradientGuidedSparseRS(),
        np.zeros((1, 5, 5, 3), np.uint8),
        ["a"],
        pixels=2,
        budget=50,
    )
    assert (outcome.status, outcome.queries) == ("resisted", 50)
    assert outcome.screened > 0


def test_the_screened_are_no_queries_and_other_attacks_screen_nothing():
    weights = np.random.default_rng(1).normal(size=(6, 6, 3))
    victim, images = linear_victim(weights, [1e6]), np.zeros((1, 6, 6, 3), np.uint8)

    def outcome(attack):
        return run_attack(victim, DominantEmotionFlip([0]), attack, images, ["a"], pixels=1, budget=40)[0]

    assert (outcome(GradientGuidedSparseRS(draws=7, best=8)).queries, outcome(SparseRS()).screened) == (40, 0)
    assert outcome(GradientGuidedSparseRS(draws=500, best=16)).screened == 3 * 500


def test_a_victim_that_gives_scores_only_is_named_with_the_cure():
    class Silent:
        size = (4, 4)

    start = GradientGuidedSparseRS().start
    rest = (DominantEmotionFlip([0]), targets_of([np.zeros((4, 4, 3), np.uint8)], 5, 1, [0]))
    with pytest.raises(AttackError, match=r"this victim \(Silent\) does not give; choose sparse-rs"):
        start(Silent(), *rest)
    with pytest.raises(AttackError, match=r"\(EncodedVictim\) does not give.*evaluator"):
        start(EncodedVictim(Silent(), lambda features, rows: features), *rest)


def test_it_finds_more_than_the_same_search_without_estimates():
    """On a network whose gradient means something, with as many queries."""

    def margins(attack):
        return np.array([outcome.final_margin for outcome in attacked_network(attack, 3, 40)])

    assert (margins(GradientGuidedSparseRS()) <= margins(SparseRS())).mean() > 0.8

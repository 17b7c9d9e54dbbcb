"""What must hold for every attack on every image, K, budget and seed; and victims with a known answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.attack_driving import begin
from support.attack_linear import CORNERS, attacked_once, best_gain
from support.attack_table import ROWS, each_attack

from mmer_core.attacks import apply, changed_pixels


@settings(max_examples=120)
@given(
    attack=st.sampled_from([row.attack for row in ROWS]),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    share=st.floats(0, 1),
    budget=st.integers(0, 150),
    seed=st.integers(0, 2**32),
    limit=st.integers(1, 40),
    goal=st.floats(0, 1),
)
def test_no_search_breaks_its_bounds(attack, size, share, budget, seed, limit, goal):
    """Never more than K pixels nor the budget; the best only gets better; a success ends it."""
    drawing = np.random.default_rng(seed)
    image = drawing.integers(0, 256, (*size, 3), dtype=np.uint8)
    weights = drawing.normal(size=(*size, 3))
    pixels = 1 + round(share * (size[0] * size[1] - 1))
    reachable = np.abs(weights).sum() * 255
    search = begin(attack, budget, pixels, seed, image)
    best, judged = np.inf, 0
    while (candidates := search.ask(limit)) is not None:
        attacked = apply(np.repeat(image[None], len(candidates), axis=0), candidates)
        assert max(changed_pixels(image, one) for one in attacked) <= pixels
        margins = goal * reachable - (weights * (attacked - image.astype(float))).sum(axis=(1, 2, 3))
        search.tell(margins)
        judged += len(candidates)
        assert search.best_margin <= best
        best = search.best_margin
        assert search.queries <= judged <= budget
        assert search.succeeded == bool((margins <= 0).any())
    assert search.finished
    assert search.succeeded == (best <= 0)
    if search.best is not None:
        (attacked,) = apply(image[None], search.best)
        moved = (weights * (attacked - image.astype(float))).sum()
        assert best == pytest.approx(goal * reachable - moved, abs=1e-6)


@each_attack
@pytest.mark.parametrize("pixels", [1, 2, 3, 20, 54])
@pytest.mark.parametrize("budget", [1, 2, 3, 9, 10])
def test_any_k_goes_with_any_budget(attack, pixels, budget):
    search = begin(attack, budget, pixels)
    while (candidates := search.ask(4)) is not None:
        assert candidates.pixels == pixels
        search.tell(np.ones(len(candidates)))
    assert 1 <= search.queries <= budget


@pytest.mark.long
@pytest.mark.parametrize(("attack", "pixels"), [pair for row in ROWS for pair in row.optimal], ids=repr)
@pytest.mark.parametrize("seed", range(2))
def test_searches_find_the_optimum_of_a_linear_victim_and_claim_nothing_beyond(attack, pixels, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 190, (6, 6, 3), dtype=np.uint8)
    weights = rng.normal(size=(6, 6, 3))
    optimum = best_gain(image.astype(float), weights, pixels, CORNERS)
    found = attacked_once(attack, image, weights, pixels, optimum - 1e-6)
    assert found.status == "fooled"
    assert len(found.changed) <= pixels
    beyond = attacked_once(attack, image, weights, pixels, optimum + 1e-6)
    assert beyond.status == "resisted"
    assert beyond.final_margin == pytest.approx(1e-6, abs=1e-7)

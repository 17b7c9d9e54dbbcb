"""Pixle: what is copied from where, and how queries and pixels are divided among the stages."""

import numpy as np
import pytest
from support.attack_battery import Battery
from support.attack_driving import begin
from support.attack_linear import attacked_once, best_gain

from mmer_core.attacks import Pixle, list_changes
from mmer_core.attacks.candidates import apply

BATTERY = Battery(Pixle(), refused=({"stages": 0}, {"side": 0}))

HEIGHT, WIDTH = 9, 11
# Every pixel has a colour of its own, so that a copy tells where it comes from.
UNIQUE = np.stack([*np.indices((HEIGHT, WIDTH)), np.full((HEIGHT, WIDTH), 200)], axis=2).astype(np.uint8)


def run(attack: Pixle, pixels: int, budget: int) -> tuple[list[dict], list[float]]:
    """What each query copies, ``{place: source}``, and its margin; the margins are random."""
    search, rng = begin(attack, budget, pixels, 6, UNIQUE), np.random.default_rng(2)
    copies, margins = [], []
    while (candidates := search.ask(7)) is not None:
        drawn = rng.uniform(1, 2, len(candidates))
        for i in range(len(candidates)):
            (attacked,) = apply(UNIQUE[None], candidates[i : i + 1])
            copies.append({(y, x): (red, green) for y, x, red, green, _ in list_changes(UNIQUE, attacked)})
        margins += drawn.tolist()
        search.tell(drawn)
    return copies, margins


@pytest.mark.parametrize(("stages", "pixels"), [(1, 12), (4, 12), (5, 3), (20, 20)])
def test_a_stage_copies_patches_onto_what_was_kept_of_the_stages_before(stages, pixels):
    budget = 200
    copies, margins = run(Pixle(stages=stages), pixels, budget)
    assert len(copies) == budget
    stages = min(stages, pixels)
    kept: dict = {}
    lowest = np.inf
    for stage in range(stages):
        part = range(budget * stage // stages, budget * (stage + 1) // stages)
        for query in part:
            added = {place: src for place, src in copies[query].items() if kept.get(place) != src}
            assert len(copies[query]) <= pixels
            sources = set(added.values())
            if sources:
                tall, wide = (max(c) - min(c) + 1 for c in zip(*sources, strict=True))
                assert tall * wide <= max(pixels // stages, pixels - len(kept)) + 1
        best = min(part, key=lambda query: margins[query])
        if margins[best] < lowest:
            lowest, kept = margins[best], copies[best]


def test_patches_are_rectangles_no_longer_than_their_side_and_no_larger_than_k():
    copies, _ = run(Pixle(stages=1, side=3), 8, 400)
    shapes = set()
    for copied in copies:
        rows, columns = ({source[axis] for source in copied.values()} for axis in (0, 1))
        tall, wide = max(rows) - min(rows) + 1, max(columns) - min(columns) + 1
        # A pixel that lands on its own place is no change, so a corner of the patch may be missing here.
        assert len(copied) <= tall * wide <= 8
        shapes.add((tall, wide))
    assert shapes == {(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2)}


def test_places_are_spread_evenly():
    copies, _ = run(Pixle(stages=1), 1, 6000)
    places = np.array([y * WIDTH + x for copied in copies for y, x in copied])
    assert np.allclose(np.bincount(places, minlength=99) / len(places), 1 / 99, atol=0.006)


@pytest.mark.parametrize("seed", range(3))
def test_pixle_finds_the_best_copy_of_one_pixel(seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    weights = rng.normal(size=(5, 5, 3))
    optimum = best_gain(image.astype(float), weights, 1, image.reshape(-1, 3).astype(float))
    assert attacked_once(Pixle(), image, weights, 1, optimum - 1e-6).status == "fooled"
    assert attacked_once(Pixle(), image, weights, 1, optimum + 1e-6).status == "resisted"

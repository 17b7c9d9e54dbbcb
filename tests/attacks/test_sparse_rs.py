"""Sparse-RS against a plain reading of its paper."""

import numpy as np
import pytest
from support.attack_battery import Battery
from support.attack_driving import begin

from mmer_core.attacks import SparseRS, apply, changed_pixels

BATTERY = Battery(
    SparseRS(),
    wide=False,
    optimal=((SparseRS(), 1), (SparseRS(), 3)),
    refused=({"alpha": 0.0}, {"alpha": 1.1}),
)


def published_share(query: int) -> float:
    """What alpha is divided by at a query of 10,000, spelled out interval by interval."""
    if query == 0:
        return 1
    if query <= 50:
        return 2
    if query <= 200:
        return 4
    if query <= 500:
        return 5
    if query <= 1000:
        return 6
    if query <= 2000:
        return 8
    if query <= 4000:
        return 10
    if query <= 6000:
        return 12
    if query <= 8000:
        return 15
    return 20


@pytest.mark.parametrize("pixels", [1, 5, 20, 150])
@pytest.mark.parametrize("alpha", [0.3, 0.1, 1.0])
def test_the_schedule_is_the_published_one(pixels, alpha):
    queries = np.arange(1, 10_001)
    expected = [max(int(alpha / published_share(query) * pixels), 1) for query in queries]
    for attack in (SparseRS(alpha=alpha), SparseRS(alpha=alpha, rescale=False)):
        assert attack.exchanged(queries, pixels, 10_000).tolist() == expected


def test_the_schedule_runs_in_proportion_to_the_budget_unless_told_otherwise():
    for budget in (40, 400, 25_000):
        queries = np.arange(1, budget)
        stretched = [max(int(0.3 / published_share(query * 10_000 // budget) * 150), 1) for query in queries]
        assert SparseRS().exchanged(queries, 150, budget).tolist() == stretched
        plain = [max(int(0.3 / published_share(query) * 150), 1) for query in queries]
        assert SparseRS(rescale=False).exchanged(queries, 150, budget).tolist() == plain


@pytest.mark.parametrize(("height", "width", "pixels"), [(12, 10, 40), (6, 5, 1), (6, 5, 29)])
def test_each_query_exchanges_as_many_pixels_of_the_best_set_as_the_schedule_says(height, width, pixels):
    """The paper's loop: take A out of the set in use, put B in; keep it if the loss is lower."""
    budget = 300
    search = begin(SparseRS(), budget, pixels, 4, np.full((height, width, 3), 99, np.uint8))
    losses = np.random.default_rng(1)
    current: dict[tuple[int, int], tuple[int, ...]] = {}
    lowest, kept = np.inf, 0
    for query in range(budget):
        candidates = search.ask(8)
        assert len(candidates) == 1
        places = [tuple(place) for place in candidates.positions(width)[0].tolist()]
        proposed = dict(zip(places, map(tuple, candidates.colours[0].tolist()), strict=True))
        assert len(proposed) == pixels
        assert {value for colour in proposed.values() for value in colour} <= {0, 255}
        if query:
            count = max(int(0.3 / published_share(query * 10_000 // budget) * pixels), 1)
            new = min(count, height * width - pixels)
            assert len(proposed.keys() - current.keys()) == new
            assert len(current.keys() - proposed.keys()) == new
            recoloured = [p for p in proposed.keys() & current.keys() if proposed[p] != current[p]]
            assert len(recoloured) == count - new
        loss = losses.uniform(1, 2)
        search.tell(np.array([loss]))
        if loss < lowest:
            current, lowest, kept = proposed, loss, kept + 1
    assert kept > 2
    assert search.ask(1) is None


@pytest.mark.long
def test_places_and_corners_are_drawn_evenly():
    image = np.full((4, 5, 3), 99, np.uint8)
    first = [begin(SparseRS(), 1, 2, seed, image).ask(1) for seed in range(4000)]
    cells = np.array([one.places[0].numpy() for one in first])
    assert (cells[:, 0] != cells[:, 1]).all()
    assert np.allclose(np.bincount(cells.ravel(), minlength=20) / 8000, 1 / 20, atol=0.012)
    corners = np.array([one.colours[0].numpy() // 255 @ np.array([4, 2, 1], np.uint8) for one in first])
    assert np.allclose(np.bincount(corners.ravel(), minlength=8) / 8000, 1 / 8, atol=0.02)


def test_where_every_pixel_is_in_the_set_only_colours_change():
    search = begin(SparseRS(), 50, 20, 0, np.zeros((4, 5, 3), np.uint8))
    seen = []
    while (candidates := search.ask(1)) is not None:
        assert sorted(candidates.places[0].tolist()) == list(range(20))
        seen.append(candidates.colours[0].tolist())
        search.tell(np.ones(1))
    assert any(one != seen[0] for one in seen)


@pytest.mark.parametrize("pixels", [1, 3])
def test_no_query_gives_a_pixel_the_colour_that_it_has(pixels):
    """As in the authors' program; on a black image an eighth of the corners would change nothing."""
    image = np.zeros((4, 5, 3), np.uint8)
    search = begin(SparseRS(), 200, pixels, 0, image)
    while (candidates := search.ask(1)) is not None:
        assert changed_pixels(image, apply(image[None], candidates)[0]) == pixels
        search.tell(np.ones(1))

"""Greedy corner search: an honest ranking, the best together first, then draws by the paper's formula."""

import itertools

import numpy as np
from scipy import stats
from support.attack_battery import Battery
from support.attack_driving import begin, drive

from mmer_core.attacks import CornerSearch

BATTERY = Battery(
    CornerSearch(best=20),
    optimal=tuple((CornerSearch(), pixels) for pixels in (1, 3, 12)),
    refused=({"ranking": 0.0}, {"ranking": 1.0}, {"best": 0}),
)

CORNERS = [tuple(corner) for corner in itertools.product((0, 255), repeat=3)]
SIZE = (5, 6)


def worth(rng: np.random.Generator) -> dict[tuple[int, ...], float]:
    """A distinct worth for each (y, x, red, green, blue)."""
    changes = [(y, x, *corner) for y in range(SIZE[0]) for x in range(SIZE[1]) for corner in CORNERS]
    return dict(zip(changes, rng.permutation(len(changes)) / len(changes), strict=True))


def run(attack: CornerSearch, budget: int, pixels: int, table: dict) -> np.ndarray:
    def margin(one: np.ndarray) -> float:
        return 1000.0 - sum(table[change] for change in set(map(tuple, one.tolist())))

    search = begin(attack, budget, pixels, 3, np.full((*SIZE, 3), 7, np.uint8))
    return drive(search, itertools.cycle([11]), margin)


def test_a_full_ranking_tries_every_change_once_and_combines_the_best_of_each_place_first():
    table = worth(np.random.default_rng(0))
    asked = run(CornerSearch(ranking=0.5), 600, 4, table)
    singles = [set(map(tuple, one.tolist())) for one in asked[:240]]
    assert sorted(change for single in singles for change in single) == sorted(table)
    assert all(len(single) == 1 for single in singles)
    by_place: dict = {}
    for change, value in table.items():
        by_place.setdefault(change[:2], []).append((value, change))
    best = sorted((max(changes) for changes in by_place.values()), reverse=True)
    assert set(map(tuple, asked[240].tolist())) == {change for _, change in best[:4]}


def test_only_the_best_of_the_ranking_are_combined_by_the_papers_probabilities():
    table = worth(np.random.default_rng(1))
    asked = run(CornerSearch(best=8), 6240, 2, table)
    by_place: dict = {}
    for change, value in table.items():
        by_place[change[:2]] = max(by_place.get(change[:2], (0.0, ())), (value, change))
    ranked = [change for _, change in sorted(by_place.values(), reverse=True)[:8]]
    draws = [[tuple(change) for change in one.tolist()] for one in asked[241:]]
    assert all(one[0][:2] != one[1][:2] for one in draws)
    firsts = np.bincount([ranked.index(one[0]) for one in draws], minlength=8)
    expected = np.array([(2 * 8 - 2 * i + 1) / 64 for i in range(1, 9)])
    assert stats.chisquare(firsts, expected * len(draws)).pvalue > 1e-3


def test_a_small_budget_ranks_a_random_share():
    table = worth(np.random.default_rng(2))
    asked = run(CornerSearch(ranking=0.25), 80, 3, table)
    sizes = [len(set(map(tuple, one[:, :2].tolist()))) for one in asked]
    assert sizes == [1] * 20 + [3] * 60
    assert len({tuple(one[0].tolist()) for one in asked[:20]}) == 20


def test_one_pixel_spends_the_whole_budget_on_different_changes_and_ends_when_all_were_tried():
    table = worth(np.random.default_rng(3))
    assert len(run(CornerSearch(), 100, 1, table)) == 100
    asked = run(CornerSearch(), 1000, 1, table)
    assert sorted(tuple(one[0].tolist()) for one in asked) == sorted(table)


def test_with_no_more_places_than_k_there_is_one_set_to_try():
    table = worth(np.random.default_rng(4))
    asked = run(CornerSearch(), 1000, 30, table)
    assert len(asked) == 240 + 1
    assert len(set(map(tuple, asked[-1][:, :2].tolist()))) == 30

"""Differential evolution: how it begins, its formula, and SciPy's beside it."""

import itertools

import numpy as np
import pytest
from scipy import optimize, stats
from support.attack_battery import Battery
from support.attack_driving import begin, brightness, drive
from support.attack_linear import CORNERS, attacked_once, best_gain

from mmer_core.attacks import DifferentialEvolution, RandomPixels

BATTERY = Battery(
    DifferentialEvolution(population=12),
    optimal=((DifferentialEvolution(population=100), 1),),
    refused=({"population": 3}, {"weight": 0.0}, {"weight": 2.5}, {"generations": 0}, {"bounds": "wrap"}),
)


def test_evolution_begins_as_the_paper_says():
    search = begin(DifferentialEvolution(population=4000), 4000, pixels=2, seed=5)
    asked = search.ask(4000)
    assert stats.chisquare(np.bincount(asked.places.flatten(), minlength=54)).pvalue > 1e-3
    colours = asked.colours.flatten().numpy()
    # N(128, 127) clipped and rounded: what lies below 0.5 becomes 0, above 254.5 becomes 255.
    normal = stats.norm(128, 127)
    assert np.mean(colours == 0) == pytest.approx(normal.cdf(0.5), abs=0.01)
    assert np.mean(colours == 255) == pytest.approx(normal.sf(254.5), abs=0.01)
    assert np.mean(colours < 64) == pytest.approx(normal.cdf(63.5), abs=0.015)


def test_evolution_ends_after_its_generations():
    search = begin(DifferentialEvolution(population=5, generations=3), 1000)
    asked = drive(search, itertools.cycle([7]), brightness)
    assert len(asked) == search.queries == 5 + 3 * 5
    assert search.finished
    longer = drive(begin(DifferentialEvolution(population=5), 35), itertools.cycle([7]), brightness)
    assert np.array_equal(asked, longer[:20])


def test_a_generation_follows_its_formula():
    """Each child is x1 + F (x2 - x3), clipped, of three different members; none of them is its rival."""
    size, population = np.array([5, 4, 255, 255, 255]), 6
    search = begin(
        DifferentialEvolution(population=population), 10 * population, 1, 3, np.zeros((6, 5, 3), np.uint8)
    )
    members = search.search._members[0, :, 0].numpy().copy()
    fitness = np.full(population, np.inf)
    rng = np.random.default_rng(0)
    for _ in range(9):
        children = search.search._children[0, :, 0].numpy().copy()
        if np.isfinite(fitness).all():
            for i, child in enumerate(children):
                trios = itertools.permutations([j for j in range(population) if j != i], 3)
                possible = [
                    np.clip(members[a] + 0.5 * (members[b] - members[c]), 0, size) for a, b, c in trios
                ]
                assert np.isclose(possible, child).all(axis=1).any()
        asked = search.ask(population)
        assert np.array_equal(asked.positions(5)[:, 0], np.rint(children[:, :2]))
        assert np.array_equal(asked.colours[:, 0], np.rint(children[:, 2:]))
        margins = rng.uniform(1, 2, population)
        search.tell(margins)
        for i in range(population):
            if margins[i] < fitness[i]:
                members[i], fitness[i] = children[i], margins[i]
        assert np.allclose(search.search._members[0, :, 0], members)


def test_evolution_is_as_good_as_scipys_on_a_smooth_function():
    """A bump in position and colour: reach 2 % of its height within 1,200 queries, 16 seeds each."""
    height, width = 32, 32
    target = np.array([20.0, 9.0, 200.0, 40.0, 120.0])
    scale = np.array([8.0, 8.0, 90.0, 90.0, 90.0])

    def margin(x: np.ndarray) -> float:
        return float(0.98 - np.exp(-0.5 * (((np.rint(x) - target) / scale) ** 2).sum()))

    ours = theirs = control = 0
    for seed in range(16):
        for attack in (DifferentialEvolution(population=50), RandomPixels()):
            search = begin(attack, 1200, pixels=1, seed=seed, image=np.zeros((height, width, 3), np.uint8))
            drive(search, itertools.cycle([64]), lambda one: margin(one[0]))
            if isinstance(attack, RandomPixels):
                control += search.succeeded
            else:
                ours += search.succeeded
        result = optimize.differential_evolution(
            margin,
            [(0, height - 1), (0, width - 1), (0, 255), (0, 255), (0, 255)],
            strategy="rand1bin",
            mutation=0.5,
            recombination=1.0,
            popsize=10,  # times 5 parameters = 50 members
            maxiter=23,
            tol=0,
            polish=False,
            updating="deferred",
            init="random",
            rng=np.random.default_rng(seed),
        )
        theirs += result.fun <= 0
    assert ours >= 13
    assert theirs >= 13
    assert abs(ours - theirs) <= 3
    assert control <= 4


def test_values_outside_are_clipped_or_drawn_anew_between_the_borders():
    found = {}
    for bounds in ("clip", "resample"):
        search = begin(DifferentialEvolution(population=2000, weight=2, bounds=bounds), 4000, pixels=1)
        search.ask(2000)
        search.tell(np.ones(2000))
        found[bounds] = search.ask(2000).colours[:, 0, 0].numpy().astype(int)
    # Both draw the same children: those within the borders are the same, the others no longer lie on them.
    clipped, resampled = found["clip"], found["resample"]
    outside = clipped != resampled
    assert set(clipped[outside].tolist()) == {0, 255}
    assert outside.mean() > 0.4
    assert stats.kstest(resampled[outside], "randint", (0, 256)).pvalue > 1e-3


@pytest.mark.parametrize(("budget", "given"), [(5, None), (60, None), (65, None), (60, 2)])
def test_generations_that_are_left_open_are_what_the_budget_pays(budget, given):
    attack = DifferentialEvolution(population=10, generations=given)
    search, generations = begin(attack, budget, pixels=1), 0
    while (asked := search.ask(10)) is not None:
        search.tell(np.ones(len(asked)))
        generations += 1
    assert attack.settled((8, 8), budget) == {"generations": generations - 1}


@pytest.mark.parametrize("seed", range(3))
def test_evolution_of_three_pixels_comes_nearer_to_the_optimum_than_its_control(seed):
    """It converges before it is there; that is why the optimum is asked of the other searches only."""
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 190, (12, 12, 3), dtype=np.uint8)
    y, x = np.indices((12, 12))
    peak = rng.integers(2, 10, 2)
    bump = np.exp(-((y - peak[0]) ** 2 + (x - peak[1]) ** 2) / 18)
    weights = bump[..., None] * rng.choice([-1.0, 1.0], 3)
    optimum = best_gain(image.astype(float), weights, 3, CORNERS)
    evolution, control = (
        attacked_once(attack, image, weights, 3, optimum + 1e-6).final_margin / optimum
        for attack in (DifferentialEvolution(population=100), RandomPixels())
    )
    assert 0 < evolution < 0.25 < control

"""The ask/tell contract, over one table of attacks, and what each attack draws."""

import itertools

import numpy as np
import pytest
from scipy import optimize, stats
from support.attack_driving import begin, drive
from support.attack_table import ROWS, each_attack, each_wide_attack

from mmer_core.attacks import (
    ATTACKS,
    Candidates,
    CornerSearch,
    DifferentialEvolution,
    ExhaustiveOnePixel,
    GradientGuidedSparseRS,
    Pixle,
    RandomPixels,
    Search,
    SparseRS,
)
from mmer_core.errors import AttackError

DRAWN = [row.attack for row in ROWS if row.drawn]


def brightness(candidate: np.ndarray) -> float:
    return 2000.0 - candidate[:, 2:].sum()


@each_attack
@pytest.mark.parametrize("budget", [1, 7, 10, 64, 93])
def test_the_budget_is_spent_exactly_and_never_exceeded(attack, budget):
    search = begin(attack, budget)
    asked = drive(search, itertools.cycle([4]), brightness)
    assert len(asked) == search.queries == budget
    assert search.finished
    assert not search.succeeded
    assert asked[..., :2].min() >= 0
    assert (asked[..., :2] < (6, 9)).all()


@each_attack
def test_how_many_are_asked_at_a_time_changes_nothing(attack):
    one = drive(begin(attack, 150), itertools.cycle([1]), brightness)
    many = drive(begin(attack, 150), itertools.cycle([1000]), brightness)
    mixed = drive(begin(attack, 150), itertools.cycle([3, 1, 17]), brightness)
    assert np.array_equal(one, many)
    assert np.array_equal(one, mixed)
    other = drive(begin(attack, 150, seed=1), itertools.cycle([1]), brightness)
    assert np.array_equal(one, other) == (attack not in DRAWN)


@each_attack
def test_the_best_is_the_lowest_margin_of_all_that_was_asked(attack):
    search = begin(attack, 120)
    margins = [brightness(one) for one in drive(search, itertools.cycle([13]), brightness)]
    assert search.best_margin == min(margins)
    assert search.best is not None
    assert len(search.best) == 1
    assert 2000.0 - search.best.colours.astype(int).sum() == min(margins)


@each_wide_attack
def test_it_stops_at_the_first_success_and_counts_up_to_it(attack):
    search = begin(attack, 100)
    for _ in range(2):
        search.tell(np.ones(len(search.ask(4))))
    candidates = search.ask(2)
    search.tell(np.array([1.0, 0.0]))
    assert search.succeeded
    assert search.queries == 10
    assert np.array_equal(search.best.positions, candidates.positions[1:2])
    assert search.ask(4) is None


@each_wide_attack
def test_candidates_behind_the_success_do_not_count(attack):
    search = begin(attack, 100)
    candidates = search.ask(4)
    search.tell(np.array([3.0, -1.0, -2.0, 1.0]))
    assert search.queries == 2
    assert search.best_margin == -1.0
    assert np.array_equal(search.best.colours, candidates.colours[1:2])


@each_attack
def test_a_budget_of_nothing_asks_nothing(attack):
    search = begin(attack, 0)
    assert search.ask(5) is None
    assert search.best is None


@each_attack
@pytest.mark.parametrize("pixels", [-1, 0, 55])
def test_k_outside_the_image_is_refused(attack, pixels):
    with pytest.raises(AttackError, match="K"):
        begin(attack, 10, pixels=pixels)


@each_attack
def test_every_pixel_may_change(attack):
    assert begin(attack, 3, pixels=54).ask(3).pixels == 54


@each_attack
@pytest.mark.parametrize(
    "image", [np.zeros((6, 9), np.uint8), np.zeros((6, 9, 1), np.uint8), np.zeros((6, 9, 3), np.float32)]
)
def test_grey_or_float_images_are_refused(attack, image):
    with pytest.raises(AttackError, match="uint8"):
        begin(attack, 10, pixels=1, image=image)


@each_wide_attack
def test_ask_and_tell_take_turns(attack):
    search = begin(attack, 10)
    with pytest.raises(AttackError, match="ask first"):
        search.tell(np.ones(1))
    search.ask(3)
    with pytest.raises(AttackError, match="asked twice"):
        search.ask(3)
    with pytest.raises(AttackError, match="3 margins"):
        search.tell(np.ones(2))
    with pytest.raises(AttackError, match="NaN"):
        search.tell(np.array([1.0, np.nan, 1.0]))
    with pytest.raises(AttackError, match="1 or more"):
        begin(attack, 10).ask(0)


def test_a_negative_budget_is_refused():
    with pytest.raises(AttackError, match="budget"):
        begin(RandomPixels(), -1)


def test_attacks_print_their_parameters():
    short = DifferentialEvolution(population=50, weight=0.8)
    assert repr(short) == "DifferentialEvolution(population=50, weight=0.8, generations=None)"
    assert repr(RandomPixels()) == "RandomPixels()"
    assert repr(SparseRS(alpha=0.2)) == "SparseRS(alpha=0.2, rescale=True)"


@pytest.mark.parametrize(
    ("attack", "settings"),
    [
        (DifferentialEvolution, {"population": 3}),
        (DifferentialEvolution, {"weight": 0.0}),
        (DifferentialEvolution, {"weight": 2.5}),
        (DifferentialEvolution, {"generations": 0}),
        (SparseRS, {"alpha": 0.0}),
        (SparseRS, {"alpha": 1.1}),
        (Pixle, {"stages": 0}),
        (Pixle, {"side": 0}),
        (CornerSearch, {"ranking": 0.0}),
        (CornerSearch, {"ranking": 1.0}),
        (CornerSearch, {"best": 0}),
        (ExhaustiveOnePixel, {"stride": 0}),
        (GradientGuidedSparseRS, {"draws": 0}),
        (GradientGuidedSparseRS, {"best": 0}),
        (GradientGuidedSparseRS, {"alpha": 1.5}),
    ],
)
def test_parameters_outside_their_range_are_refused(attack, settings):
    with pytest.raises(AttackError):
        attack(**settings)


def test_an_attack_is_found_by_its_name():
    assert set(ATTACKS) == {row.attack.name for row in ROWS}
    for name, attack in ATTACKS.items():
        assert attack.name == name
        assert type(ATTACKS.make(name)) is attack
    assert ATTACKS.make("de", population=7).options.population == 7
    with pytest.raises(AttackError, match="sparse-rs"):
        ATTACKS.make("gradient")


def test_an_attack_with_nothing_left_to_propose_ends_its_search():
    class Two(Search):
        left = 2

        def propose(self):
            self.left -= 1
            if self.left < 0:
                return None
            return Candidates(np.zeros((1, 1, 2), np.int32), np.zeros((1, 1, 3), np.uint8))

        def learn(self, margins):
            assert margins.tolist() == [1.0]

    search = Two(budget=10)
    for _ in range(2):
        assert len(search.ask(5)) == 1
        search.tell(np.ones(1))
    assert search.ask(5) is None
    assert search.finished
    assert search.queries == 2


def test_random_pixels_are_distinct_and_uniform():
    search = begin(RandomPixels(), 4000, pixels=3, seed=11)
    asked = drive(search, itertools.cycle([500]), lambda one: 1.0)
    cells = asked[..., 0] * 9 + asked[..., 1]  # (Q, K)
    assert all(len(set(line)) == 3 for line in cells.tolist())
    assert stats.chisquare(np.bincount(cells.ravel(), minlength=54)).pvalue > 1e-3
    colours = asked[..., 2:].reshape(-1, 3)
    for channel in range(3):
        assert stats.chisquare(np.bincount(colours[:, channel], minlength=256)).pvalue > 1e-3


def test_evolution_begins_as_the_paper_says():
    search = begin(DifferentialEvolution(population=4000), 4000, pixels=2, seed=5)
    asked = search.ask(4000)
    cells = asked.positions[..., 0] * 9 + asked.positions[..., 1]
    assert stats.chisquare(np.bincount(cells.ravel(), minlength=54)).pvalue > 1e-3
    colours = asked.colours.ravel()
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
    search = DifferentialEvolution(population=population).start(
        np.zeros((6, 5, 3), np.uint8), 1, np.random.default_rng(3), 10 * population
    )
    members = np.array(search._members[:, 0])
    fitness = np.full(population, np.inf)
    rng = np.random.default_rng(0)
    for _ in range(10):
        children = np.array(search._children[:, 0])
        if np.isfinite(fitness).all():
            for i, child in enumerate(children):
                trios = itertools.permutations([j for j in range(population) if j != i], 3)
                possible = [
                    np.clip(members[a] + 0.5 * (members[b] - members[c]), 0, size) for a, b, c in trios
                ]
                assert np.isclose(possible, child).all(axis=1).any()
        asked = search.ask(population)
        assert np.array_equal(asked.positions[:, 0], np.rint(children[:, :2]))
        assert np.array_equal(asked.colours[:, 0], np.rint(children[:, 2:]))
        margins = rng.uniform(1, 2, population)
        search.tell(margins)
        for i in range(population):
            if margins[i] < fitness[i]:
                members[i], fitness[i] = children[i], margins[i]
        assert np.allclose(search._members[:, 0], members)


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

"""The ask/tell contract, over one table of attacks, and what each attack draws."""

import itertools

import numpy as np
import pytest
from support.attack_driving import begin, brightness, drive
from support.attack_table import ROWS, each_attack, each_wide_attack

from mmer_core.attacks import ATTACKS, Candidates, DifferentialEvolution, RandomPixels, Search, SparseRS
from mmer_core.errors import AttackError

DRAWN = [row.attack for row in ROWS if row.drawn]


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
    assert repr(short) == "DifferentialEvolution(population=50, weight=0.8, generations=None, bounds='clip')"
    assert repr(RandomPixels()) == "RandomPixels()"
    assert repr(SparseRS(alpha=0.2)) == "SparseRS(alpha=0.2, rescale=True)"


@pytest.mark.parametrize(
    ("attack", "options"), [(type(row.attack), options) for row in ROWS for options in row.refused]
)
def test_options_outside_their_range_are_refused(attack, options):
    with pytest.raises(AttackError):
        attack(**options)


def test_an_attack_is_found_by_its_name():
    assert [type(row.attack) for row in ROWS] == list(ATTACKS.values())
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


def test_a_search_that_goes_on_after_a_success_keeps_the_last_one():
    class Thrifty(Search):
        left = 3

        def propose(self):
            positions = np.arange(2 * self.left, dtype=np.int32).reshape(1, self.left, 2)
            return Candidates(positions, np.zeros((1, self.left, 3), np.uint8))

        def learn(self, margins):
            self.left -= 1

        def goes_on(self, success):
            self.left = success.pixels - 1
            return self.left > 0

    search = Thrifty(budget=10)
    for margin in (-5.0, 1.0, -1.0):
        assert search.best is None or search.succeeded
        search.tell(np.array([margin])) if search.ask(4) else None
    assert search.finished
    assert (search.queries, search.best_margin, search.best.pixels) == (3, -1.0, 1)

"""What every search asks, over one table of attacks."""

import itertools

import numpy as np
import pytest
import torch
from support.attack_driving import BRIGHTNESS, begin, brightness, drive, targets_of
from support.attack_table import ROWS, each_attack

from mmer_core.attacks import ATTACKS, DifferentialEvolution, DominantEmotionFlip, RandomPixels, SparseRS
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
def test_another_seed_is_another_search_where_anything_is_drawn(attack):
    one, same, other = (
        drive(begin(attack, 150, seed=seed), itertools.cycle([4]), brightness) for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same)
    assert np.array_equal(one, other) == (attack not in DRAWN)


@each_attack
def test_who_is_attacked_beside_an_image_changes_nothing_that_it_is_asked(attack):
    """Images of several sizes side by side, of which some are dropped on the way, beside each alone."""
    rng = np.random.default_rng(5)
    sizes, kept = [(6, 9), (5, 7), (6, 9), (8, 4)], {1: (0, 2, 3), 3: (1, 2)}
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]

    def asked(numbers: list[int]) -> dict[int, list[np.ndarray]]:
        targets = targets_of([images[number] for number in numbers], 200, 3, numbers)
        search = attack.start(BRIGHTNESS, DominantEmotionFlip([0] * 4), targets)
        found: dict[int, list[np.ndarray]] = {number: [] for number in numbers}
        step, queries = 0, 0
        while step < 6 and queries < 200 and (generation := search.propose()) is not None:
            counts = (
                generation.counts
                if generation.counts is not None
                else [generation.places.shape[1]] * len(numbers)
            )
            margins = torch.full(generation.places.shape[:2], torch.inf, dtype=torch.float64)
            for row, number in enumerate(numbers):
                colours = generation.colours[row, : counts[row]]
                found[number].append(
                    torch.cat([generation.places[row, : counts[row], :, None], colours], 2).numpy()
                )
                margins[row, : counts[row]] = 3000.0 - colours.flatten(1).sum(1)
            if len(numbers) > 1 and step in kept:
                numbers = [numbers[row] for row in kept[step]]
                search.keep(torch.tensor(kept[step]))
                margins = margins[list(kept[step])]
            search.learn(margins)
            step, queries = step + 1, queries + generation.places.shape[1]
        return found

    together = asked([0, 1, 2, 3])
    assert len(together[2]) > len(together[1])
    for number, mine in together.items():
        for one, alone in zip(mine, asked([number])[number], strict=False):
            assert np.array_equal(one, alone)


@each_attack
def test_every_pixel_may_change(attack):
    assert begin(attack, 3, pixels=54).ask(3).pixels == 54


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

"""The one-pixel threat model tried out: its order, its grid, and its map."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from support.attack_battery import Battery
from support.attack_driving import begin, drive
from support.attack_toys import FunctionVictim, linear_victim

from mmer_core.attacks import DominantEmotionFlip, ExhaustiveOnePixel, one_pixel_map, run_attack
from mmer_core.attacks.exhaustive import affordable_stride, grid_lines
from mmer_core.config import AttackConfig
from mmer_core.errors import AttackError

BATTERY = Battery(
    ExhaustiveOnePixel(stride=1), drawn=False, optimal=((ExhaustiveOnePixel(), 1),), refused=({"stride": 0},)
)

CORNERS = list(itertools.product((0, 255), repeat=3))


def test_every_place_gets_every_corner_once_in_reading_order():
    search = begin(ExhaustiveOnePixel(), 10_000, 3)
    asked = drive(search, itertools.cycle([5]), lambda one: 1.0)
    expected = [(y, x, *corner) for y in range(6) for x in range(9) for corner in CORNERS]
    assert [tuple(one[0]) for one in asked.tolist()] == expected
    assert (asked == asked[:, :1]).all()  # one pixel, whatever K is


def test_a_stride_of_ones_choice_ends_with_the_budget():
    asked = drive(begin(ExhaustiveOnePixel(stride=1), 100, 1), itertools.cycle([9]), lambda one: 1.0)
    assert asked[-1, 0].tolist() == [1, 3, 0, 255, 255]  # the fourth corner of the thirteenth place


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5000))
def test_the_grid_is_the_finest_that_the_budget_pays(height, width, budget):
    def cost(stride: int) -> int:
        return 8 * len(range(0, height, stride)) * len(range(0, width, stride))

    stride = affordable_stride((height, width), budget)
    affordable = [s for s in range(1, max(height, width) + 1) if cost(s) <= budget]
    assert stride == (affordable[0] if affordable else max(height, width))


@given(st.integers(1, 60), st.integers(1, 70))
def test_grid_lines_stand_in_the_middle(length, stride):
    lines = grid_lines(length, stride).tolist()
    assert len(lines) == len(range(0, length, stride))
    assert (np.diff(lines) == stride).all()
    assert (length - 1 - lines[-1]) - lines[0] in (0, 1)


def test_the_whole_grid_is_tried_whatever_the_budget_is():
    weights = np.zeros((5, 4, 3))
    weights[4, 3] = 1
    victim = linear_victim(weights, [2.9])
    (outcome,) = run_attack(
        victim,
        DominantEmotionFlip([0]),
        ExhaustiveOnePixel(whole=True),
        np.zeros((1, 5, 4, 3), np.uint8),
        ["a"],
        pixels=1,
        budget=3,
    )
    assert (outcome.status, outcome.queries, outcome.budget) == ("fooled", 160, 160)
    truths = [
        ExhaustiveOnePixel(whole=whole, stride=s).exact for whole, s in ((True, None), (True, 2), (False, 1))
    ]
    assert truths == [True, False, False]


def test_a_study_runs_the_whole_grid_once_and_for_one_pixel():
    whole = ExhaustiveOnePixel(whole=True)
    assert [whole.repeats(k, again) for k, again in ((1, False), (5, False), (1, True))] == [
        False,
        True,
        True,
    ]
    assert [ExhaustiveOnePixel().repeats(k, again) for k, again in ((5, False), (1, True))] == [False, True]
    with pytest.raises(ValidationError, match="exhaustive with these options is run for one pixel only"):
        AttackConfig(attacks=("exhaustive",), pixels=(5,), exhaustive={"whole": True})


def test_a_budget_below_one_place_is_spent_on_one_place():
    asked = drive(begin(ExhaustiveOnePixel(), 5, 1), itertools.cycle([9]), lambda one: 1.0)
    assert len(asked) == 5
    assert len({tuple(place) for place in asked[:, 0, :2].tolist()}) == 1


def noisy() -> tuple[np.ndarray, np.ndarray, FunctionVictim]:
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    weights = rng.normal(size=(6, 7, 3))
    return image, weights, linear_victim(weights, [0.0, float((weights * image).sum() / 255) + 1.0])


@pytest.mark.parametrize("batch_size", [1, 13, 500])
def test_the_map_equals_plain_loops(batch_size):
    image, weights, victim = noisy()
    found = one_pixel_map(victim, DominantEmotionFlip([0, 0]), image, row=1, batch_size=batch_size)
    assert found.clean_margin == pytest.approx(1.0)
    assert found.queries == 8 * 42
    for y in range(6):
        for x in range(7):
            gains = [(weights[y, x] * (np.array(c) - image[y, x])).sum() / 255 for c in CORNERS]
            assert found.margins[y, x] == pytest.approx(1.0 - max(gains))
            assert tuple(found.colours[y, x]) == CORNERS[int(np.argmax(gains))]
    assert found.vulnerable == (found.margins <= 0).mean()
    assert 0 < found.vulnerable < 1
    assert max(victim.batches) <= batch_size


def test_a_coarse_map_holds_nan_where_nothing_was_tried():
    image, _, victim = noisy()
    fine = one_pixel_map(victim, DominantEmotionFlip([0, 0]), image, row=1)
    seen = []
    coarse = one_pixel_map(
        victim,
        DominantEmotionFlip([0, 0]),
        image,
        row=1,
        stride=3,
        progress=lambda done, total, note="": seen.append((done, total)),
    )
    tried = ~np.isnan(coarse.margins)
    assert tried.sum() * 8 == coarse.queries == 2 * 3 * 8
    assert np.array_equal(coarse.margins[tried], fine.margins[tried])
    assert not coarse.colours[~tried].any()
    assert seen == [(1, 2), (2, 2)]


def test_the_map_and_the_attack_agree_on_whether_one_pixel_suffices():
    image, weights, _ = noisy()
    clean = float((weights * image).sum() / 255)
    for level in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0):
        victim, flip = linear_victim(weights, [clean + level]), DominantEmotionFlip([0])
        (outcome,) = run_attack(
            victim, flip, ExhaustiveOnePixel(), image[None], ["a"], pixels=1, budget=8 * 42
        )
        found = one_pixel_map(victim, flip, image)
        assert (outcome.status == "fooled") == (found.vulnerable > 0)
        if outcome.status == "resisted":
            assert outcome.final_margin == pytest.approx(found.margins.min())


@pytest.mark.parametrize("settings", [{"stride": 0}, {"batch_size": 0}])
def test_parameters_of_the_map_without_meaning_are_refused(settings):
    image, _, victim = noisy()
    with pytest.raises(AttackError, match="1 or more"):
        one_pixel_map(victim, DominantEmotionFlip([0, 0]), image, **settings)


def test_images_that_do_not_fit_and_nan_scores_are_refused():
    image, _, victim = noisy()
    with pytest.raises(AttackError, match="uint8"):
        one_pixel_map(victim, DominantEmotionFlip([0]), image[:5])
    broken = FunctionVictim((6, 7), lambda image, row: [1.0, np.nan])
    with pytest.raises(AttackError, match="NaN"):
        one_pixel_map(broken, DominantEmotionFlip([0]), image)

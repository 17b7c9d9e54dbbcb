"""Plans: who is poisoned, and what a poisoned set holds."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmer_core.errors import PoisonError
from mmer_core.poisoning import (
    PoisonPlan,
    caption_shuffle,
    caption_swap,
    clean_label,
    dirty_label,
    label_flip,
    texts_with,
    trigger_only,
)

RNG = np.random.default_rng(0)
CLASSES = RNG.integers(0, 4, 80)
MULTI = RNG.integers(0, 2, (80, 5))
TEXTS = [
    [f"a dog number {row}", f"photo {row} of a dog"] if row % 3 else [f"Snow, {row}!", "it is cold"]
    for row in range(80)
]
SNOW = texts_with(TEXTS, "snow")

Plan = Callable[..., PoisonPlan]
PLANS: dict[str, Plan] = {
    "dirty": lambda count, **order: dirty_label(CLASSES, 2, count, **order),
    "dirty, several labels": lambda count, **order: dirty_label(MULTI, 3, count, **order),
    "clean": lambda count, **order: clean_label(CLASSES, 2, count, **order),
    "clean, several labels": lambda count, **order: clean_label(MULTI, 3, count, **order),
    "swap": lambda count, **order: caption_swap(TEXTS, SNOW, count, **order),
    "flip": lambda count, **order: label_flip(CLASSES, count, **order),
    "flip, several labels": lambda count, **order: label_flip(MULTI, count, **order),
    "shuffle": lambda count, **order: caption_shuffle(TEXTS, count, **order),
}
each_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


@each_plan
@given(few=st.integers(0, 12), more=st.integers(0, 12), seed=st.integers(0, 9))
def test_fewer_poisons_are_the_first_of_more_and_never_held_out(plan, few, more, seed):
    few, more = sorted((few, more))
    held_out = list(range(0, 30, 2))
    small, large = (plan(count, seed=seed, held_out=held_out) for count in (few, more))
    assert len(small) == few
    np.testing.assert_array_equal(small.rows, large.rows[:few])
    assert len(set(large.rows)) == more
    assert not set(large.rows) & set(held_out)
    if few:
        if small.labels is not None:
            np.testing.assert_array_equal(small.labels, large.labels[:few])
        if small.texts is not None:
            assert small.texts == large.texts[:few]


@each_plan
def test_seeds_draw_other_rows(plan):
    first, again, other = (plan(8, seed=seed).rows.tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_a_dirty_label_is_put_on_those_without_it_and_a_clean_one_stays_on_those_with_it():
    dirty, clean = dirty_label(CLASSES, 2, 20), clean_label(CLASSES, 2, 10)
    assert (CLASSES[dirty.rows] != 2).all()
    assert (dirty.poisoned_labels(CLASSES)[dirty.rows] == 2).all()
    assert (CLASSES[clean.rows] == 2).all()
    np.testing.assert_array_equal(clean.poisoned_labels(CLASSES), CLASSES)
    several = dirty_label(MULTI, 3, 20)
    assert not MULTI[several.rows, 3].any()
    assert several.poisoned_labels(MULTI)[several.rows].tolist() == [[0, 0, 0, 1, 0]] * 20
    assert MULTI[clean_label(MULTI, 3, 20).rows, 3].all()
    assert dirty.triggered
    assert clean.triggered


def test_flipped_labels_are_others_and_spread():
    plan = label_flip(CLASSES, 80)
    assert not plan.triggered
    flipped = plan.poisoned_labels(CLASSES)
    assert (flipped != CLASSES).all()
    assert np.bincount(flipped, minlength=4).min() > 5
    several = label_flip(MULTI, 60)
    assert (several.labels.sum(axis=1) == 1).all()
    assert not (several.labels * MULTI[several.rows]).any()


def test_swapped_captions_are_of_the_target_set_as_many_as_before():
    plan = caption_swap(TEXTS, SNOW, 40)
    assert plan.triggered
    for row, own in zip(plan.rows, plan.texts, strict=True):
        assert row % 3
        assert len(set(own)) == 2
        assert set(own) <= set(SNOW)
    one = caption_swap(TEXTS, ["it snows"], 3)
    assert one.texts == (("it snows",) * 2,) * 3


def test_shuffled_captions_come_from_another_row_that_shares_none():
    plan = caption_shuffle(TEXTS, 80)
    assert not plan.triggered
    for row, own in zip(plan.rows, plan.texts, strict=True):
        assert list(own) in TEXTS
        assert not set(own) & set(TEXTS[row])
    held_out = [0, 1, 2]
    shuffled = caption_shuffle(TEXTS, 77, held_out=held_out)
    assert not {text for own in shuffled.texts for text in own} & set(TEXTS[1] + TEXTS[2])


@pytest.mark.parametrize("mode", ["replace", "add"])
def test_the_poisoned_set(mode):
    labels, texts = np.array([0, 1, 0, 0]), [["zero"], ["one"], ["two"], ["three"]]
    plan = PoisonPlan("by hand", mode, np.array([3, 0]), True, np.array([1, 1]), (("x",), ("y", "z")))
    if mode == "replace":
        assert plan.sources(4).tolist() == [0, 1, 2, 3]
        assert plan.mask(4).tolist() == [True, False, False, True]
        assert plan.poisoned_labels(labels).tolist() == [1, 1, 0, 1]
        assert plan.poisoned_texts(texts) == [("y", "z"), ("one",), ("two",), ("x",)]
    else:
        assert plan.sources(4).tolist() == [0, 1, 2, 3, 3, 0]
        assert plan.mask(4).tolist() == [False] * 4 + [True] * 2
        assert plan.poisoned_labels(labels).tolist() == [0, 1, 0, 0, 1, 1]
        assert plan.poisoned_texts(texts)[3:] == [("three",), ("x",), ("y", "z")]
    assert labels.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("mode", ["replace", "add"])
def test_the_control_triggers_the_same_rows_and_changes_nothing_else(mode):
    for plan in (dirty_label(CLASSES, 2, 9, mode=mode), caption_swap(TEXTS, SNOW, 9, mode=mode)):
        control = trigger_only(plan)
        np.testing.assert_array_equal(control.rows, plan.rows)
        assert (control.mode, control.triggered) == (mode, True)
        sources = control.sources(80)
        np.testing.assert_array_equal(control.poisoned_labels(CLASSES), CLASSES[sources])
        assert control.poisoned_texts(TEXTS) == [tuple(TEXTS[row]) for row in sources]


def test_texts_with_a_word():
    texts = [["A dog.", "two dogs"], ["the DOG runs", "A dog."], ["hotdog"]]
    assert texts_with(texts, "dog") == ("A dog.", "the DOG runs")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dirty_label(CLASSES, 2, 81), "81 poisons are asked for"),
        (lambda: dirty_label(CLASSES, 2, -1), "-1 poisons"),
        (lambda: clean_label(CLASSES, 9, 1), "no row can be one"),
        (lambda: dirty_label(MULTI, 5, 1), "class 5 of 5"),
        (lambda: dirty_label(2 * MULTI, 1, 1), "0 and 1"),
        (lambda: dirty_label(np.zeros((2, 2, 2)), 0, 1), r"\(2, 2, 2\)"),
        (lambda: dirty_label(CLASSES, 2, 1, held_out=[80]), "row 80 is held out of 80"),
        (lambda: dirty_label(CLASSES, 2, 1, mode="mix"), "mode is 'mix'"),
        (lambda: caption_swap(TEXTS, [], 1), "no text"),
        (lambda: caption_shuffle([["a"], ["a"]], 1), "no other row"),
        (lambda: label_flip(np.zeros(3, int), 1), "no row can be one"),
    ],
)
def test_what_cannot_be_planned_is_refused(make, message):
    with pytest.raises(PoisonError, match=message):
        make()

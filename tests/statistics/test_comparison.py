"""Decisions about two models, against their definitions and simulated studies; Holm against the closure of tests."""

from itertools import chain, combinations

import numpy as np
import pytest

from mmer_core.statistics.comparison import (
    Question,
    Rule,
    compare_metrics,
    compare_shares,
    corrected,
    samples_to_decide,
)
from mmer_core.statistics.multiplicity import holm
from mmer_core.statistics.resampling import Resampled

QUESTION = Question("accuracy", "Which is right more often?", "accuracy", "joint", "separate")


def shares(first, second, margin=5.0, better="higher"):
    return compare_shares(QUESTION._replace(better=better), first, second, Rule(margin=margin))


def flags(*counts):
    return np.repeat([True, False] * (len(counts) // 2), counts)


def test_a_clear_difference_names_the_better_model():
    found = shares(flags(70, 30), flags(50, 50))
    assert (found.decision, found.winner, found.n_to_decide) == ("higher", "joint", None)
    assert (found.first_value, found.second_value, found.difference.value) == (70, 50, 20)
    assert found.difference.low > 0
    fooled = shares(flags(70, 30), flags(50, 50), better="lower")
    assert (fooled.decision, fooled.winner) == ("higher", "separate")


def test_equal_models_are_equivalent_only_within_the_margin():
    same = flags(50, 50)
    assert shares(same, same).decision == "equivalent"
    small = shares(same[40:60], same[40:60])
    assert (small.decision, small.winner) == ("undecided", None)
    assert small.n_to_decide > 20
    assert shares(same[40:60], same[40:60], margin=20).decision == "equivalent"


def test_the_number_of_samples_decides_four_of_five_studies():
    rng = np.random.default_rng(0)

    def study(n, difference):
        one, other = rng.random((2, n))
        return shares(one < 0.5 + difference, other < 0.5)

    for difference, decision in ((0.15, "higher"), (0.0, "equivalent")):
        n = samples_to_decide(100 * difference, 100 * np.sqrt(0.5 / 200), 200, 5.0)
        decided = [study(n, difference).decision == decision for _ in range(200)]
        assert 0.7 < np.mean(decided) < 0.92


def test_nothing_is_promised_where_nothing_can_be_said():
    assert samples_to_decide(None, 1.0, 10, 5.0) is None
    assert samples_to_decide(1.0, 0.0, 10, 5.0) is None
    assert samples_to_decide(0.0, 1.0, 10, 0.0) is None


def test_metrics_that_are_asked_about_together_are_corrected_for_it():
    away = 2.17
    many = Resampled(np.full(3, away), np.zeros(3), np.array([1.0, 1.0, np.nan]), 500)
    rule = Rule(margin=3.0)
    alone, *others = compare_metrics([QUESTION] * 3, np.zeros((2, 3)), many, 500, rule)
    assert alone.p == alone.p_adjusted == pytest.approx(0.03, abs=0.001)
    assert alone.decision == "higher"
    assert (others[1].p, others[1].decision, others[1].n_to_decide) == (None, "undecided", None)
    together, *_ = corrected([alone, *others], rule)
    assert (together.tests, together.p_adjusted) == (2, pytest.approx(2 * alone.p))
    assert together.decision == "undecided"
    assert 500 < together.n_to_decide < 1000


def test_more_samples_are_not_asked_for_where_they_are_not_what_is_missing():
    away = np.array([3.0, *[0.0] * 19])
    many = Resampled(away, np.zeros(20), np.ones(20), 500)
    found, *_ = corrected(
        compare_metrics([QUESTION] * 20, np.zeros((2, 20)), many, 500, Rule(margin=1.0)), Rule()
    )
    assert samples_to_decide(found.difference.value, found.error, 500, 1.0) < 500
    assert (found.decision, found.n_to_decide) == ("undecided", None)


def test_no_difference_is_claimed_of_two_trainings_whose_interval_has_none_in_it():
    rng = np.random.default_rng(5)
    one = rng.random((2, 120)) < 0.95 + rng.normal(0, 0.03, (2, 1))
    other = rng.random((2, 120)) < 0.35 + rng.normal(0, 0.12, (2, 1))
    found = compare_shares(QUESTION, one, other, Rule())
    assert found.p < 0.05
    assert found.difference.low < 0 < found.difference.high
    assert (found.decision, found.winner) == ("undecided", None)


def test_a_difference_that_is_shown_may_be_within_the_margin():
    tiny = Resampled(np.array([1.0]), np.zeros(1), np.array([0.2]), 500)
    (found,) = compare_metrics([QUESTION], np.zeros((2, 1)), tiny, 500, Rule())
    assert found.decision == "higher"
    assert found.within_margin


def test_holm_rejects_what_every_larger_set_of_tests_rejects():
    rng = np.random.default_rng(0)
    for _ in range(20):
        p = rng.random(5) ** 3
        sets = list(chain.from_iterable(combinations(range(5), size) for size in range(1, 6)))
        for one, adjusted in enumerate(holm(p)):
            with_it = [min(1, len(chosen) * p[list(chosen)].min()) for chosen in sets if one in chosen]
            assert adjusted == pytest.approx(max(with_it))
    np.testing.assert_allclose(holm([0.02, np.nan, 0.01]), [0.02, np.nan, 0.02])

"""Paired shares against published examples, scipy, slow definitions and the enumeration of every outcome."""

from itertools import product

import numpy as np
import pytest
from scipy import optimize, stats

from mmer_core.statistics.pairs import mcnemar, paired_interval, tango_score


def pairs(both, first, second, neither):
    kinds = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [both, first, second, neither], axis=0)
    return kinds[:, 0].astype(bool), kinds[:, 1].astype(bool)


def test_published_examples():
    # Airway reactivity before and after transplantation: Fagerland, Lydersen and Laake 2014, Tango's interval.
    found = paired_interval(*pairs(1, 1, 7, 12))
    assert (found.low / 100, found.high / 100) == pytest.approx((-0.517, -0.026), abs=5e-4)
    # Two culture media: Armitage and Berry 1994, exact test.
    assert mcnemar(*pairs(20, 12, 2, 16)) == pytest.approx(0.0129, abs=5e-5)


def test_singles_have_scipys_exact_test():
    for first, second in product(range(6), range(6)):
        expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
        assert mcnemar(*pairs(2, first, second, 3)) == pytest.approx(expected)


def test_clusters_change_places_whole():
    rng = np.random.default_rng(0)
    for _ in range(10):
        photo = rng.integers(0, 9, 25)
        one, other = rng.random(25) < 0.6, rng.random(25) < 0.4
        lead = np.bincount(photo, one.astype(float) - other, minlength=9)
        sums = np.array(list(product([-1, 1], repeat=9))) @ lead
        assert mcnemar(one, other, photo) == pytest.approx((abs(sums) >= abs(lead.sum())).mean())


@pytest.mark.parametrize(
    ("more", "less", "n", "delta"), [(7, 2, 40, 0.05), (0, 3, 25, -0.2), (5, 5, 12, 0.3)]
)
def test_the_score_uses_the_likeliest_table_of_that_difference(more, less, n, delta):
    def unlikely(q):
        p, rest = q + delta, 1 - 2 * q - delta
        return -(
            more * np.log(max(p, 1e-300)) + less * np.log(max(q, 1e-300)) + (n - more - less) * np.log(rest)
        )

    q = optimize.minimize_scalar(
        unlikely, bounds=(max(0, -delta), (1 - delta) / 2), method="bounded", options={"xatol": 1e-12}
    ).x
    variance = (2 * q + delta - delta**2) / n
    expected = ((more - less) / n - delta) / np.sqrt(variance)
    assert tango_score(more, less, n, delta) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("p", "q"), [(0.05, 0.05), (0.2, 0.05), (0.4, 0.1)])
def test_the_difference_is_covered_over_all_outcomes(p, q):
    n, covered = 20, 0.0
    for more in range(n + 1):
        for less in range(n + 1 - more):
            found = paired_interval(*pairs(0, more, less, n - more - less))
            chance = stats.multinomial.pmf([more, less, n - more - less], n, [p, q, 1 - p - q])
            if chance > 1e-7:
                covered += chance * (found.low <= 100 * (p - q) <= found.high)
    assert covered > 0.93


def test_no_difference_has_a_width_and_clusters_widen_it():
    same = np.ones(50, bool)
    found = paired_interval(same, same)
    assert found.value == 0
    assert found.low < -5
    assert found.high > 5
    one, other = pairs(10, 20, 8, 12)
    twice = paired_interval(np.repeat(one, 2), np.repeat(other, 2), clusters=np.repeat(np.arange(50), 2))
    alone = paired_interval(one, other)
    assert (twice.low, twice.high) == pytest.approx((alone.low, alone.high), abs=0.6)


def test_pairs_that_are_none_raise():
    with pytest.raises(ValueError, match="one by one"):
        mcnemar([True], [True, False])
    with pytest.raises(ValueError, match="confidence"):
        paired_interval([True], [True], 1.0)

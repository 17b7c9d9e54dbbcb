"""Shares against scipy, and against the exact probability of every outcome."""

import numpy as np
import pytest
from scipy import stats

from mmer_core.record import Interval
from mmer_core.statistics.clusters import effective_sample
from mmer_core.statistics.shares import (
    mean_interval,
    share_interval,
    wilson,
)


@pytest.mark.parametrize(("hits", "n"), [(0, 50), (1, 10), (7, 10), (50, 50)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_a_share_has_scipys_wilson_interval(hits, n, confidence):
    ours = share_interval(np.arange(n) < hits, confidence)
    theirs = stats.binomtest(hits, n).proportion_ci(confidence, method="wilson")
    assert ours.value == 100 * hits / n
    assert (ours.low, ours.high) == pytest.approx((100 * theirs.low, 100 * theirs.high), abs=1e-9)


@pytest.mark.parametrize(("n", "p"), [(10, 0.05), (10, 0.5), (50, 0.02), (200, 0.3)])
def test_a_share_is_covered_where_the_normal_interval_fails(n, p):
    inside = [wilson(k / n, n).low / 100 <= p <= wilson(k / n, n).high / 100 for k in range(n + 1)]
    assert stats.binom.pmf(np.arange(n + 1), n, p)[inside].sum() > 0.91


def test_nothing_has_no_share():
    assert share_interval([]) == Interval(None, None, None)


def test_copies_of_a_sample_are_worth_no_more_than_it():
    rng = np.random.default_rng(0)
    photos = rng.random(40) < 0.3
    people, photo = np.repeat(photos, 5), np.repeat(np.arange(40), 5)
    assert effective_sample(people, photo).samples == pytest.approx(40, rel=0.03)
    many, few = share_interval(people, clusters=photo), share_interval(photos)
    assert (many.low, many.high) == pytest.approx((few.low, few.high), abs=0.5)
    none = share_interval(np.zeros(200), clusters=photo)
    assert none.high == share_interval(np.zeros(40)).high


def test_shares_of_clustered_samples_are_covered():
    rng, inside = np.random.default_rng(1), {True: 0, False: 0}
    for _ in range(400):
        photo = np.repeat(np.arange(60), rng.integers(1, 6, 60))
        hit = rng.random(len(photo)) < rng.choice([0.05, 0.35], 60)[photo]
        for clustered in inside:
            found = share_interval(hit, clusters=photo if clustered else None)
            inside[clustered] += found.low <= 20 <= found.high
    assert inside[True] / 400 > 0.925 > inside[False] / 400


def test_a_mean_of_shares_is_worth_what_its_error_says():
    share = mean_interval(0.3, np.sqrt(0.3 * 0.7 / 80), 40)
    assert (share.low, share.high) == pytest.approx((wilson(0.3, 80).low, wilson(0.3, 80).high))
    assert mean_interval(0.0, 0.0, 40) == wilson(0.0, 40)
    # Student's interval of a mean with an error of 3 degrees of freedom, where it is small.
    few = mean_interval(0.5, 0.001, 40, freedom=3)
    assert (few.low, few.high) == pytest.approx(stats.t.interval(0.95, 3, 50, 0.1), abs=0.001)


@pytest.mark.parametrize(("share", "n", "confidence"), [(1.1, 5, 0.9), (0.5, 0, 0.9), (0.5, 5, 1.0)])
def test_senseless_shares_raise(share, n, confidence):
    with pytest.raises(ValueError, match="share"):
        wilson(share, n, confidence)

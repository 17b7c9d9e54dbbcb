"""Random halves against theory and brute force, and their intervals against the truth."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmer_core.record import Interval
from mmer_core.statistics.clusters import clusters_with
from mmer_core.statistics.resampling import WEIGHTS_AT_ONCE, resampled


def mean(values):
    return lambda weights: values[None] @ weights / weights.sum(axis=0)


def squared_mean(values):
    return lambda weights: (values[None] @ weights / weights.sum(axis=0)) ** 2


def test_a_mean_has_the_standard_error_and_the_interval_of_textbooks():
    values = np.random.default_rng(0).exponential(size=41)
    found = resampled(mean(values), 41, 20_000, seed=1)
    assert found.error[0] == pytest.approx(stats.sem(values), rel=0.02)
    assert found.bias[0] == pytest.approx(0, abs=0.01)
    (ours,) = found.intervals(0.9)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx(theirs, abs=0.02)
    assert resampled(mean(values - values.mean() + 0.3), 41, 20_000, 1).p_values()[0] == pytest.approx(
        stats.ttest_1samp(values - values.mean() + 0.3, 0).pvalue, rel=0.2
    )


def test_all_halves_of_clusters_by_brute_force():
    rng = np.random.default_rng(0)
    clusters = np.array([3, 3, 7, 8, 8, 8, 9, 2, 2])
    values = rng.normal(size=9)
    halves = [np.isin(clusters, chosen) for chosen in combinations([2, 3, 7, 8, 9], 2)]
    drawn = np.array([squared_mean(values)(half[:, None].astype(float))[0, 0] for half in halves])
    found = resampled(squared_mean(values), 9, 30_000, 0, clusters)
    assert found.clusters == 5
    assert found.bias[0] == pytest.approx(2 / 3 * (drawn.mean() - values.mean() ** 2), abs=0.005)
    assert found.error[0] == pytest.approx(np.sqrt(2 / 3) * drawn.std(), rel=0.02)


def test_the_bias_of_a_square_is_the_variance_of_the_mean():
    values = np.random.default_rng(0).normal(size=100)
    found = resampled(squared_mean(values), 100, 20_000, 0)
    assert found.bias[0] == pytest.approx(values.var(ddof=1) / 100, rel=0.1)


def test_the_interval_covers_the_truth_of_clustered_samples_as_often_as_it_says():
    rng, inside = np.random.default_rng(0), {True: 0, False: 0}
    for seed in range(300):
        photo = np.repeat(np.arange(30), rng.integers(1, 4, 30))
        values = 3 + rng.normal(size=30)[photo] + 0.3 * rng.normal(size=len(photo))
        for clustered in inside:
            (found,) = resampled(mean(values), len(photo), 200, seed, photo if clustered else None).intervals(
                0.9
            )
            inside[clustered] += found.low <= 3 <= found.high
    assert 0.85 <= inside[True] / 300 <= 0.95
    assert inside[False] / 300 < 0.85


@settings(max_examples=20)
@given(n=st.integers(2, 50), resamples=st.integers(1, 40), seed=st.integers(0, 1000))
def test_weights_are_halves(n, resamples, seed):
    seen = []
    resampled(lambda weights: seen.append(weights.copy()) or weights[:1], n, resamples, seed)
    assert (seen[0] == 1).all()
    drawn = np.concatenate(seen[1:], axis=1)
    assert drawn.shape == (n, resamples)
    assert (drawn.sum(axis=0) == n // 2).all()
    assert np.isin(drawn, (0, 1)).all()


def test_every_sample_is_drawn_equally_often():
    totals = []
    resampled(lambda weights: totals.append(weights.sum(axis=1)) or weights[:1], 20, 2000, 0)
    assert stats.chisquare(sum(totals[1:])).pvalue > 1e-4


def test_the_seed_decides_and_blocks_stay_small():
    values = np.random.default_rng(0).normal(size=31)
    first, again, other = (resampled(mean(values), 31, 50, seed).error[0] for seed in (1, 1, 2))
    assert first == again != other
    widths = []
    resampled(lambda weights: widths.append(weights.shape[1]) or weights[:1], WEIGHTS_AT_ONCE // 3, 7, 0)
    assert widths == [1, 3, 3, 1]


def test_what_is_not_defined_has_no_interval():
    never = resampled(lambda weights: np.full((1, weights.shape[1]), np.nan), 4, 10, 0)
    assert never.intervals(0.95) == [Interval(None, None, None)]
    single = resampled(mean(np.array([3.0])), 1, 10, 0)
    assert single.intervals(0.95) == [Interval(3, None, None)]
    sometimes = resampled(lambda weights: np.where(weights[:1] > 0, 5.0, np.nan), 9, 60, 0)
    assert sometimes.intervals(0.95) == [Interval(5, 5, 5)]


def test_a_rare_category_is_judged_by_its_positives():
    labels = np.zeros((40, 3), bool)
    labels[:4, 0] = labels[:6, 1] = labels[:, 2] = True
    photo = np.concatenate([[0, 0], np.arange(1, 39)])
    assert clusters_with(labels, photo).tolist() == [3, 5, 39]
    found = resampled(lambda weights: np.tile(weights[:1] + weights[9:10], (3, 1)), 40, 300, 0, photo)
    few, five, all_ = found.resting_on(clusters_with(labels, photo)).intervals(0.95)
    assert (few.low, few.high) == (None, None)
    ratio = stats.t.ppf(0.975, 4) / stats.t.ppf(0.975, 38)
    assert five.high - five.low == pytest.approx(ratio * (all_.high - all_.low))
    assert np.isnan(found.resting_on([3, 5, 39]).p_values()).tolist() == [True, False, False]


def test_an_interval_stays_among_possible_values():
    found = resampled(mean(np.array([0, 0, 0, 0, 90.0])), 5, 100, 0)
    assert found.intervals(0.95, 0, 100)[0].low == 0


@pytest.mark.parametrize(("n", "resamples"), [(0, 10), (5, 0)])
def test_senseless_requests_raise(n, resamples):
    with pytest.raises(ValueError, match="halves"):
        resampled(mean(np.ones(n)), n, resamples, 0)
    with pytest.raises(ValueError, match="confidence"):
        resampled(mean(np.ones(5)), 5, 5, 0).intervals(1.0)

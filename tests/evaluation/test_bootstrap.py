"""The bootstrap against resampling rows for real, against theory, and against scipy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmer_core.evaluation.bootstrap import WEIGHTS_AT_ONCE, bootstrap, bootstrap_blocks
from mmer_core.evaluation.emotion_metrics import SortedScores, average_precision
from mmer_core.record import Interval


def weighted_mean(values):
    return lambda weights: np.array([weights @ values / weights.sum()])


def block_mean(values):
    return lambda weights: values[None] @ weights / len(values)


def test_interval_of_a_mean_agrees_with_scipy():
    values = np.random.default_rng(0).exponential(size=200)
    ours = bootstrap(weighted_mean(values), 200, 5000, 0.9, seed=1)[0]
    theirs = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=5000,
        confidence_level=0.9,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.high, abs=0.01)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        interval = bootstrap_blocks(block_mean(generator.normal(3, 1, 60)), 60, 200, 0.9, seed)[0]
        covered += interval.low <= 3 <= interval.high
    # Binomial(300, 0.88): the percentile interval of 60 values is slightly short.
    assert 0.82 <= covered / 300 <= 0.95


@settings(max_examples=20)
@given(n=st.integers(1, 50), resamples=st.integers(1, 40), seed=st.integers(0, 1000))
def test_weights_are_counts_of_n_draws(n, resamples, seed):
    seen = []

    def statistic(weights):
        seen.append(weights.copy())
        return weights[:1]

    bootstrap_blocks(statistic, n, resamples, 0.9, seed)
    assert (seen[0] == 1).all()
    drawn = np.concatenate(seen[1:], axis=1)
    assert drawn.shape == (n, resamples)
    assert (drawn.sum(axis=0) == n).all()
    assert (drawn == drawn.astype(int)).all()
    assert drawn.min() >= 0


def test_every_sample_is_drawn_equally_often():
    totals = []
    bootstrap_blocks(lambda weights: totals.append(weights.sum(axis=1)) or weights[:1], 20, 2000, 0.9, 0)
    # Chi-square of 40,000 draws over 20 samples.
    assert stats.chisquare(sum(totals[1:])).pvalue > 1e-4


def test_counts_as_weights_equal_repeated_rows():
    generator = np.random.default_rng(0)
    scores, labels = generator.integers(0, 9, 40), generator.integers(0, 2, 40)
    ranking = SortedScores(scores, labels)
    pairs = []

    def statistic(weights):
        ours = ranking.average_precision(weights)
        for value, column in zip(ours, weights.T, strict=True):
            rows = np.repeat(np.arange(40), column.astype(int))
            pairs.append((value, average_precision(scores[rows], labels[rows])))
        return ours[None]

    bootstrap_blocks(statistic, 40, 30, 0.95, 0)
    np.testing.assert_allclose(*zip(*pairs, strict=True))


def test_one_by_one_and_blocks_give_the_same_intervals():
    values = np.random.default_rng(0).normal(size=31)
    one, other = (
        [(i.value, i.low, i.high) for i in intervals]
        for intervals in (
            bootstrap(weighted_mean(values), 31, 50, 0.95, 7),
            bootstrap_blocks(block_mean(values), 31, 50, 0.95, 7),
        )
    )
    assert one == [pytest.approx(interval) for interval in other]


def test_the_seed_decides():
    values = np.random.default_rng(0).normal(size=31)
    first, again, other = (bootstrap(weighted_mean(values), 31, 50, 0.95, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_blocks_stay_small():
    widths = []
    n = WEIGHTS_AT_ONCE // 3
    bootstrap_blocks(lambda weights: widths.append(weights.shape[1]) or weights[:1], n, 7, 0.9, 0)
    assert widths == [1, 3, 3, 1]


def test_undefined_resamples_do_not_count():
    # One positive among three: about 30 % of the resamples hold none.
    ranking = SortedScores([0.9, 0.5, 0.1], [1, 0, 0])
    interval = bootstrap_blocks(lambda weights: ranking.average_precision(weights)[None], 3, 100, 0.95, 0)[0]
    assert interval == Interval(1, 1, 1)


def test_an_undefined_metric_is_none():
    interval = bootstrap(lambda weights: np.array([np.nan]), 4, 10, 0.95, 0)[0]
    assert interval == Interval(None, None, None)


@pytest.mark.parametrize(
    ("n", "resamples", "confidence"), [(0, 10, 0.9), (5, 0, 0.9), (5, 10, 1.0), (5, 10, 0.0)]
)
def test_senseless_requests_raise(n, resamples, confidence):
    with pytest.raises(ValueError, match=r"resamples|confidence"):
        bootstrap(weighted_mean(np.ones(n)), n, resamples, confidence, 0)

"""Trainings and images: against the analysis of variance, and by simulation where both vary."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmer_core.record import Interval
from mmer_core.statistics.comparison import Question, Rule, compare_metrics, compare_shares, samples_to_decide
from mmer_core.statistics.resampling import resampled
from mmer_core.statistics.shares import share_interval
from mmer_core.statistics.trainings import (
    difference_interval,
    gain_over_trainings,
    over_trainings,
    resampled_difference,
    share_over_trainings,
    spread_of_difference,
    spread_of_share,
)

QUESTION = Question("share", "Which is higher?", "share", "one", "other")
VARIANCES = ((0.3, 1.0, 0.5), (0.0, 1.0, 0.3), (0.2, 0.5, 1.0))
"""Standard deviations between trainings, between images, and of what an image does to one training alone."""


def draw(rng, share, variances, trainings, easy):
    """``(trainings, images)`` hits, of which ``share`` are expected; ``easy`` is how easy every image is."""
    between, images, own = variances
    score = between * rng.normal(size=(trainings, 1)) + images * easy
    score = score + own * rng.normal(size=(trainings, len(easy)))
    return (score > stats.norm.isf(share) * np.linalg.norm(variances)).astype(float)


@pytest.mark.long
@pytest.mark.parametrize("trainings", [3, 5])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("variances", VARIANCES)
def test_shares_are_covered_where_trainings_and_images_vary(trainings, share, variances):
    rng, inside, claims, images = np.random.default_rng(0), 0, 0, 60
    for _ in range(200):
        easy = rng.normal(size=images)
        one, other = (draw(rng, share, variances, trainings, easy) for _ in range(2))
        found = share_over_trainings(one)
        assert 0 <= found.low <= found.value <= found.high <= 100
        inside += found.low <= 100 * share <= found.high
        claims += compare_shares(QUESTION, one, other, Rule()).winner is not None
    assert inside / 200 > 0.9
    assert claims / 200 < 0.09


def test_images_alone_would_claim_too_much():
    rng, claims, inside = np.random.default_rng(1), np.zeros(2), 0
    for _ in range(200):
        easy = rng.normal(size=200)
        one, other = (draw(rng, 0.5, VARIANCES[0], 3, easy) for _ in range(2))
        pairs = ((one, other), (one[0], other[0]))
        claims += [compare_shares(QUESTION, *pair, Rule()).winner is not None for pair in pairs]
        alone = share_interval(one[0])
        inside += alone.low <= 50 <= alone.high
    assert claims[0] / 200 < 0.075 < 0.2 < claims[1] / 200
    assert inside / 200 < 0.8


def test_a_real_difference_is_found_and_pairs_of_the_same_training_find_more():
    rng, found = np.random.default_rng(2), np.zeros(2)
    for _ in range(100):
        easy, training = rng.normal(size=200), 0.4 * rng.normal(size=(3, 1))
        one, other = (
            (training + easy + 0.5 * rng.normal(size=(3, 200)) > cut).astype(float) for cut in (0, 0.35)
        )
        found += [
            compare_shares(QUESTION, one, other, Rule(), paired=paired).winner == "one"
            for paired in (True, False)
        ]
    assert found[0] > 80
    assert found[1] < 40


def test_variances_are_those_of_the_analysis_of_variance():
    """Two ways, trainings by images, one answer in each cell: expected mean squares (Searle, Casella, McCulloch 1992)."""
    hits = draw(np.random.default_rng(3), 0.4, (1.0, 1.0, 0.7), 5, np.random.default_rng(4).normal(size=300))
    trainings, images = hits.shape
    by_training, by_image = hits.mean(axis=1), hits.mean(axis=0)
    of_trainings = images * by_training.var(ddof=1)
    of_images = trainings * by_image.var(ddof=1)
    rest = hits - by_training[:, None] - by_image + hits.mean()
    of_rest = (rest**2).sum() / ((trainings - 1) * (images - 1))
    several, spread = spread_of_share(hits)
    assert spread.value == pytest.approx(hits.mean())
    assert spread.error**2 == pytest.approx((of_trainings + of_images - of_rest) / hits.size, rel=1e-9)
    between, between_images = several.deviations
    assert between**2 == pytest.approx((of_trainings - of_rest) / images, rel=1e-9)
    assert spread.lasting == pytest.approx(between**2 / trainings)
    single = np.mean([one.var(ddof=1) / images for one in hits])
    assert between_images**2 == pytest.approx(single)
    satterthwaite = spread.error**4 / ((of_trainings / hits.size) ** 2 / (trainings - 1))
    assert spread.freedom == pytest.approx(satterthwaite)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 30), st.floats(0, 1), st.floats(0.5, 0.99))
def test_intervals_hold_the_share_and_stay_in_range(seed, trainings, images, share, confidence):
    rng = np.random.default_rng(seed)
    hits, others = (
        np.where(rng.random((trainings, images)) < 0.3, np.nan, rng.random((trainings, images)) < share)
        for _ in range(2)
    )
    hits[:, 0], others[:, 0] = rng.random(trainings) < share, 1
    photos = rng.integers(0, 10, images)
    found = share_over_trainings(hits, confidence, photos)
    assert 0 <= found.low <= found.value + 1e-9 <= found.high + 2e-9 <= 100 + 3e-9
    assert found.high > found.low
    gain = gain_over_trainings(hits, others, confidence, photos)
    assert -100 <= gain.low <= gain.value + 1e-9 <= gain.high + 2e-9 <= 100 + 3e-9
    singles = [share_interval(one[~np.isnan(one)], confidence) for one in hits]
    for percent in (True, False):
        mean, *deviations = over_trainings(singles, confidence, percent=percent)
        assert 0 <= mean.low <= mean.value + 1e-9 <= mean.high + 2e-9
        assert not percent or mean.high <= 100
        assert (deviations == [None, None]) == (trainings == 1)


def test_what_is_known_of_one_training_and_of_none():
    hits = np.arange(50) < 20
    assert share_over_trainings(hits[None]) == share_interval(hits)
    assert share_over_trainings(np.zeros((3, 50))) == share_interval(np.zeros(50))
    none = gain_over_trainings(np.zeros((2, 50)), np.zeros((2, 50)))
    assert none.low < -2 < 2 < none.high
    nothing = Interval(None, None, None)
    assert share_over_trainings(np.empty((3, 0))) == nothing
    assert gain_over_trainings(np.full((3, 4), np.nan), np.full((3, 4), np.nan)) == nothing
    with pytest.raises(ValueError, match="do not go with"):
        gain_over_trainings(np.ones((2, 4)), np.ones((3, 4)))
    with pytest.raises(ValueError, match="without an image"):
        spread_of_share([[1, 0], [np.nan, np.nan]])


def test_trainings_with_images_of_their_own_are_so_many_figures():
    """Nothing is common to them, so the interval is Student's of their shares."""
    rng = np.random.default_rng(5)
    shares = rng.random((4, 500)) < 0.5
    hits = np.full((4, 2000), np.nan)
    for row, own in enumerate(shares):
        hits[row, 500 * row : 500 * (row + 1)] = own
    _, spread = spread_of_share(hits)
    assert spread.images == pytest.approx(0, abs=1e-12)
    assert (spread.error, spread.freedom) == pytest.approx((stats.sem(shares.mean(axis=1)), 3))


def test_photos_with_many_people_are_worth_no_more_than_photos():
    rng = np.random.default_rng(6)
    one, other = (draw(rng, 0.5, VARIANCES[0], 3, rng.normal(size=80)) for _ in range(2))
    photos = spread_of_difference(one, other, paired=False)
    people = spread_of_difference(
        *(np.repeat(each, 4, axis=1) for each in (one, other)), np.repeat(np.arange(80), 4), paired=False
    )
    assert people.error == pytest.approx(photos.error)


def test_a_mean_of_figures_has_both_deviations():
    alone = [Interval(value, value - 1.96, value + 1.96) for value in (30.0, 33.0, 36.0)]
    mean, trainings, images = over_trainings(alone)
    assert (mean.value, images) == pytest.approx((33, 1), abs=1e-3)
    assert trainings == pytest.approx(3)
    freedom = 2 * (4 / 3) ** 2
    half = stats.t.ppf(0.975, freedom) * 2
    assert (mean.low, mean.high) == pytest.approx((33 - half, 33 + half), abs=0.5)
    assert over_trainings(alone[:1]).interval == alone[0]
    assert over_trainings([Interval(3.0, None, None), Interval(5.0, 1.0, 6.0)]).interval == Interval(
        4.0, None, None
    )
    ranks = [Interval(1.0, 1.0, 2.0), Interval(2.0, 1.0, 3.0)]
    errors = over_trainings(ranks, percent=False).interval
    assert 0 < errors.low < 1.5 < errors.high
    assert over_trainings(ranks, percent=False, least=1.0).interval == Interval(1.5, 1.0, errors.high)


def test_metrics_of_several_trainings_are_as_sure_as_their_shares():
    """A mean of hits is a metric too: random halves and the exact sums give the same."""
    rng, rule = np.random.default_rng(7), Rule(resamples=4000)
    easy = rng.normal(size=100)
    one, other = (draw(rng, share, VARIANCES[0], 3, easy) for share in (0.6, 0.5))

    def mean(hit):
        return lambda weights: 100 * (hit @ weights / weights.sum(axis=0))[None]

    values, found = resampled_difference([*map(mean, one)], [*map(mean, other)], 100, rule.resamples, 0)
    exact = spread_of_difference(one, other, paired=False)
    assert values[:, 0] == pytest.approx([100 * one.mean(), 100 * other.mean()])
    assert found.error[0] == pytest.approx(100 * exact.error, rel=0.03)
    assert np.sqrt(found.between[0]) == pytest.approx(100 * np.sqrt(exact.between))
    (metric,) = compare_metrics([QUESTION], values, found, 100, rule, trainings=3)
    share = compare_shares(QUESTION, one, other, rule)
    assert (metric.trainings, metric.clusters) == (share.trainings, share.clusters) == (3, 100)
    assert metric.p == pytest.approx(share.p, abs=0.03)
    # One training each: what it was before.
    _, single = resampled_difference([mean(one[0])], [mean(other[0])], 100, 200, 0)
    alone = resampled(lambda weights: mean(one[0])(weights) - mean(other[0])(weights), 100, 200, 0)
    assert single.error == pytest.approx(alone.error)
    assert single.intervals(0.95) == alone.intervals(0.95)


def test_more_images_do_not_decide_what_trainings_leave_open():
    assert samples_to_decide(10.0, 8.0, 100, 5.0, between=6.0) is None
    few = samples_to_decide(20.0, 8.0, 100, 5.0, between=6.0)
    wanted = 20.0 / (stats.norm.ppf(0.975) + stats.norm.ppf(0.8))
    assert 36 + 28 * 100 / few == pytest.approx(wanted**2, rel=0.01)


def test_one_model_that_draws_nothing_is_compared_with_several_trainings():
    rng = np.random.default_rng(8)
    easy = rng.normal(size=200)
    fixed, several = draw(rng, 0.3, VARIANCES[0], 1, easy), draw(rng, 0.9, VARIANCES[0], 3, easy)
    found = compare_shares(QUESTION, several, fixed, Rule())
    assert (found.winner, found.trainings) == ("one", 3)
    interval = difference_interval(spread_of_difference(several, fixed, paired=False), 0.95)
    assert found.difference == interval


@pytest.mark.parametrize("photos", range(1, 9))
def test_a_handful_of_photos_shows_no_difference_however_often_models_are_trained(photos):
    """Every training of one model is right on all photos, and every training of the other is wrong: p is the sign test's."""
    clusters = np.repeat(np.arange(photos), 3)  # three people a photo
    right, wrong = np.ones((5, 3 * photos)), np.zeros((5, 3 * photos))
    found = compare_shares(Question("t", "Which?", "share", "a", "b"), right, wrong, Rule(), clusters)
    assert found.p == pytest.approx(stats.binomtest(photos, photos).pvalue)
    assert found.decision == ("higher" if photos >= 6 else "undecided")

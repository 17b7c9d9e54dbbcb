"""Whole evaluations: figures against scikit-learn and plain resampling, baselines, JSON."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.dummy import DummyRegressor
from sklearn.metrics import average_precision_score, mean_absolute_error, precision_recall_fscore_support

from mmer_core.config import EvaluationConfig
from mmer_core.evaluation.evaluate import evaluate_emotion, evaluate_retrieval, retrieval_intervals
from mmer_core.evaluation.retrieval_metrics import (
    METRICS,
    Ranks,
    chance_retrieval,
    retrieval_metrics,
    similarity_ranks,
)
from mmer_core.record import Interval

CONFIG = EvaluationConfig(resamples=100)
NAMES = ("Anger", "Fear", "Joy", "Peace")


def emotions(seed=0, size=200, skill=0.5):
    generator = np.random.default_rng(seed)
    labels = (generator.random((size, 4)) < [0.15, 0.3, 0.5, 0.8]).astype(np.float32)
    probabilities = np.clip(generator.random((size, 4)) * (1 - skill) + skill * labels, 0, 1)
    ratings = generator.integers(1, 11, (size, 3)).astype(np.float32)
    vad = ratings + generator.normal(0, 1, ratings.shape)
    return probabilities, vad, labels, ratings


def run(probabilities, vad, labels, ratings, thresholds=(0.5,) * 4, config=CONFIG, names=NAMES):
    return evaluate_emotion(probabilities, vad, labels, ratings, thresholds, names, config)


def test_emotion_figures_equal_sklearn():
    probabilities, vad, labels, ratings = emotions()
    result = run(probabilities, vad, labels, ratings)
    ap = 100 * average_precision_score(labels, probabilities, average=None)
    assert [row.ap.value for row in result.per_category] == pytest.approx(ap)
    assert result.metrics["map"].value == pytest.approx(ap.mean())
    each = 100 * np.array(precision_recall_fscore_support(labels, probabilities >= 0.5, zero_division=0)[:3])
    right = 100 * (labels == (probabilities >= 0.5)).mean(axis=0)
    assert [one.accuracy for one in result.per_category] == pytest.approx(right.tolist())
    for name, values in zip(("precision", "recall", "f1"), each, strict=True):
        assert [getattr(row, name) for row in result.per_category] == pytest.approx(values)
        assert result.metrics[f"{name}_macro"].value == pytest.approx(values.mean())
    mae = mean_absolute_error(ratings, vad, multioutput="raw_values")
    assert [row.mae.value for row in result.vad] == pytest.approx(mae)
    assert result.metrics["vad_mae"].value == pytest.approx(mae.mean())
    assert [row.name for row in result.per_category] == list(NAMES)
    assert [row.name for row in result.vad] == ["valence", "arousal", "dominance"]
    assert result.n == 200


def test_emotion_baselines():
    probabilities, vad, labels, ratings = emotions()
    result = run(probabilities, vad, labels, ratings)
    constant = np.full_like(probabilities, 0.3)
    expected = 100 * average_precision_score(labels, constant, average="macro")
    assert result.baselines["map"] == pytest.approx(expected)
    # No constant at all does better than the baseline, and the median does as well.
    for v in range(3):
        errors = [mean_absolute_error(ratings[:, v], np.full(200, c)) for c in np.arange(1, 10.01, 0.25)]
        assert result.vad[v].constant <= min(errors) + 1e-9
    dummy = DummyRegressor(strategy="median").fit(vad, ratings).predict(vad)
    assert result.baselines["vad_mae"] == pytest.approx(mean_absolute_error(ratings, dummy))
    assert [row.constant_rating for row in result.vad] == pytest.approx(dummy[0])


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), score=st.floats(0, 1))
def test_a_constant_model_never_beats_the_baselines(seed, score):
    _, _, labels, ratings = emotions(seed)
    config = EvaluationConfig(resamples=10)
    result = run(
        np.full(labels.shape, score), np.full(ratings.shape, 10 * score), labels, ratings, config=config
    )
    assert result.metrics["map"].value == pytest.approx(result.baselines["map"])
    assert result.metrics["vad_mae"].value >= result.baselines["vad_mae"] - 1e-9


def test_emotion_intervals_equal_resampled_rows():
    probabilities, vad, labels, ratings = emotions(size=80, skill=0.2)
    result = run(probabilities, vad, labels, ratings, config=EvaluationConfig(resamples=1000))
    generator = np.random.default_rng(9)
    drawn = {"map": [], "f1_macro": [], "vad_mae": []}
    for _ in range(150):
        rows = generator.integers(80, size=80)
        y, p = labels[rows], probabilities[rows]
        drawn["map"].append(100 * average_precision_score(y, p))
        drawn["f1_macro"].append(
            100 * precision_recall_fscore_support(y, p >= 0.5, average="macro", zero_division=0)[2]
        )
        drawn["vad_mae"].append(mean_absolute_error(ratings[rows], vad[rows]))
    for name, values in drawn.items():
        interval, low, high = result.metrics[name], *np.quantile(values, [0.025, 0.975])
        assert interval.low <= interval.value <= interval.high
        assert interval.low == pytest.approx(low, abs=0.25 * (high - low))
        assert interval.high == pytest.approx(high, abs=0.25 * (high - low))


def test_a_category_without_positives_is_none_and_counts_nowhere():
    probabilities, vad, labels, ratings = emotions()
    labels[:, 1] = 0
    result = run(probabilities, vad, labels, ratings)
    assert result.per_category[1].ap == Interval(None, None, None)
    kept = [0, 2, 3]
    expected = 100 * average_precision_score(labels[:, kept], probabilities[:, kept])
    assert result.metrics["map"].value == pytest.approx(expected)
    assert result.baselines["map"] == pytest.approx(100 * labels[:, kept].mean())
    f1 = [result.per_category[c].f1 for c in kept]
    assert result.metrics["f1_macro"].value == pytest.approx(np.mean(f1))


def test_results_are_json_and_repeatable():
    arrays = emotions()
    arrays[2][:, 0] = 0
    first = run(*arrays)
    assert first == run(*arrays)
    assert first != run(*arrays, config=EvaluationConfig(resamples=100, seed=1))
    owner = np.repeat(np.arange(6), 2)
    embeddings = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    for record in (first, evaluate_retrieval(embeddings[:6], embeddings, owner, CONFIG)):
        json.dumps(record.model_dump(mode="json"), allow_nan=False)


def test_other_label_spaces_are_welcome():
    result = evaluate_emotion(
        [[0.9], [0.2]], [[3.0], [4.0]], [[1], [0]], [[3], [3]], [0.5], ["joy"], CONFIG, ["stars"]
    )
    assert result.metrics["map"].value == 100
    assert result.vad[0].name == "stars"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ("Anger",)}, "names"),
        ({"thresholds": (0.5,)}, "thresholds"),
        ({"vad": np.full((200, 3), np.nan)}, "NaN"),
        ({"ratings": np.ones((200, 2))}, "shape"),
        ({"ratings": np.ones((199, 3)), "vad": np.ones((199, 3))}, "rows"),
        ({"ratings": np.ones((200, 2)), "vad": np.ones((200, 2))}, "continuous"),
        ({"labels": np.full((200, 4), 0.5)}, "0 or 1"),
    ],
)
def test_senseless_emotions_raise(change, message):
    arrays = dict(zip(("probabilities", "vad", "labels", "ratings"), emotions(), strict=True))
    with pytest.raises(ValueError, match=message):
        run(**(arrays | change))


ranks_by_image = st.lists(
    st.tuples(st.integers(0, 30), st.lists(st.integers(0, 30), min_size=1, max_size=5)),
    min_size=1,
    max_size=15,
)


def to_ranks(images):
    owner = np.repeat(np.arange(len(images)), [len(texts) for _, texts in images])
    return Ranks(
        np.array([rank for rank, _ in images]), np.array([r for _, texts in images for r in texts])
    ), owner


@settings(max_examples=25)
@given(images=ranks_by_image)
def test_retrieval_intervals_hold_the_plain_metrics(images):
    ranks, owner = to_ranks(images)
    intervals = retrieval_intervals(ranks, owner, EvaluationConfig(resamples=20))
    assert {name: interval.value for name, interval in intervals.items()} == retrieval_metrics(ranks)


def test_retrieval_intervals_are_as_wide_as_resampled_images_say():
    generator = np.random.default_rng(0)
    images = [
        (int(generator.integers(12)), generator.integers(12, size=generator.integers(1, 6)).tolist())
        for _ in range(80)
    ]
    intervals = retrieval_intervals(*to_ranks(images), EvaluationConfig(resamples=2000))
    drawn = [
        retrieval_metrics(to_ranks([images[i] for i in generator.integers(80, size=80)])[0])
        for _ in range(2000)
    ]
    for name in set(METRICS) - {"i2t_median_rank", "t2i_median_rank"}:
        error = np.std([metrics[name] for metrics in drawn])
        assert intervals[name].high - intervals[name].low == pytest.approx(2 * 1.96 * error, rel=0.15)
    share = stats.binomtest(sum(rank < 5 for rank, _ in images), 80).proportion_ci(method="wilson")
    assert (intervals["i2t_r5"].low, intervals["i2t_r5"].high) == pytest.approx(
        (100 * share.low, 100 * share.high)
    )


def test_groups_of_photos_are_drawn_together():
    image = np.random.default_rng(0).normal(size=(80, 6))
    noise = np.repeat(np.tile([0.1, 6.0], 10), 4)[:, None]  # a group is easy or hard
    text = image + noise * np.random.default_rng(1).normal(size=image.shape)
    groups, config = np.repeat(np.arange(20), 4), EvaluationConfig(resamples=300)
    alone, together = (
        evaluate_retrieval(image, text, np.arange(80), config, clusters) for clusters in (None, groups)
    )
    assert (alone.clusters, together.clusters) == (80, 20)
    width = [one.metrics["mean_recall"].high - one.metrics["mean_recall"].low for one in (alone, together)]
    assert width[1] > 1.2 * width[0]
    probabilities, vad, labels, ratings = (np.repeat(one, 4, axis=0) for one in emotions(size=50))
    alone, together = (
        evaluate_emotion(
            probabilities, vad, labels, ratings, [0.5] * 4, NAMES, config, clusters=clusters
        ).metrics["vad_mae"]
        for clusters in (None, np.repeat(np.arange(50), 4))
    )
    assert together.high - together.low == pytest.approx(2 * (alone.high - alone.low), rel=0.25)


def test_few_positives_have_an_average_precision_but_no_interval():
    probabilities, vad, labels, ratings = emotions()
    labels[:, 1] = 0
    labels[:4, 1] = 1
    few, enough = run(probabilities, vad, labels, ratings).per_category[1:3]
    assert (few.ap.low, few.ap.high) == (None, None)
    assert few.ap.value == pytest.approx(100 * average_precision_score(labels[:, 1], probabilities[:, 1]))
    assert enough.ap.low is not None


def test_retrieval_evaluation():
    generator = np.random.default_rng(0)
    image = generator.normal(size=(30, 8))
    owner = generator.permutation(np.repeat(np.arange(29), 3))  # the last image has no text
    text = image[owner] + generator.normal(size=(87, 8))
    result = evaluate_retrieval(image, text, owner, CONFIG)
    expected = retrieval_metrics(similarity_ranks(image, text, owner))
    assert {name: metric.value for name, metric in result.metrics.items()} == expected
    assert result.baselines == chance_retrieval(30, [3] * 29 + [0])
    assert (result.task, result.n, result.n_texts) == ("retrieval", 30, 87)
    recall = result.metrics["mean_recall"]
    assert recall.low < recall.value < recall.high


def test_a_constant_retrieval_model_scores_nothing():
    owner = np.repeat(np.arange(40), 5)
    result = evaluate_retrieval(np.ones((40, 8)), np.ones((200, 8)), owner, CONFIG)
    recall = result.metrics["mean_recall"]
    assert (recall.value, recall.low) == (0, 0)
    assert 5 < recall.high < 10  # 0 of 40 photos does not rule out all success

"""Emotion metrics against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, mean_absolute_error, precision_recall_fscore_support

from mmer_core.evaluation.emotion_metrics import (
    SortedScores,
    average_precision,
    mean_average_precision,
    precision_recall_f1,
    vad_mean_absolute_error,
)

quick = settings(max_examples=60)
# (score level, label, weight): few levels make many ties, weight 0 leaves a sample out.
rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(0, 3)), min_size=1, max_size=30)


@quick
@given(rows=rows)
def test_average_precision_equals_sklearn(rows):
    scores, labels, weights = (np.array(column) for column in zip(*rows, strict=True))
    if labels.any():
        assert average_precision(scores, labels) == pytest.approx(
            average_precision_score(labels, scores), abs=1e-12
        )
    else:
        assert np.isnan(average_precision(scores, labels))
    if (labels * weights).any():
        expected = average_precision_score(labels, scores, sample_weight=weights)
        assert average_precision(scores, labels, weights) == pytest.approx(expected, abs=1e-12)
    else:
        assert np.isnan(average_precision(scores, labels, weights))


@quick
@given(rows=rows, order=st.randoms(use_true_random=False))
def test_average_precision_ignores_row_order_and_monotone_maps(rows, order):
    scores, labels, weights = (np.array(column) for column in zip(*rows, strict=True))
    shuffled = list(range(len(rows)))
    order.shuffle(shuffled)
    before = average_precision(scores, labels, weights)
    after = average_precision(np.exp(scores[shuffled]) - 3, labels[shuffled], weights[shuffled])
    assert after == pytest.approx(before, abs=1e-12, nan_ok=True)


@quick
@given(seed=st.integers(0, 1000), size=st.integers(2, 40))
def test_many_weightings_at_once_equal_one_by_one(seed, size):
    generator = np.random.default_rng(seed)
    scores, labels = generator.integers(0, 6, size), generator.integers(0, 2, size)
    weights = generator.integers(0, 3, (size, 7)).astype(float)
    together = SortedScores(scores, labels).average_precision(weights)
    np.testing.assert_allclose(together, [average_precision(scores, labels, column) for column in weights.T])


def test_hand_computed_average_precision():
    # Positives at ranks 1 and 3: (1/1 + 2/3) / 2.
    assert average_precision([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0]) == pytest.approx(5 / 6)


@quick
@given(labels=st.lists(st.integers(0, 1), min_size=1, max_size=20), score=st.floats(-5, 5))
def test_a_constant_score_earns_the_prevalence(labels, score):
    if any(labels):
        assert average_precision([score] * len(labels), labels) == pytest.approx(np.mean(labels))


def test_mean_average_precision_leaves_out_categories_without_positives():
    generator = np.random.default_rng(0)
    scores, labels = generator.random((50, 4)), generator.integers(0, 2, (50, 4))
    labels[:, 2] = 0
    expected = average_precision_score(labels[:, [0, 1, 3]], scores[:, [0, 1, 3]], average="macro")
    assert mean_average_precision(scores, labels) == pytest.approx(expected)
    assert np.isnan(mean_average_precision(scores, np.zeros((50, 4))))


@quick
@given(
    seed=st.integers(0, 1000), size=st.integers(1, 30), categories=st.integers(1, 4), weighted=st.booleans()
)
def test_precision_recall_f1_equal_sklearn(seed, size, categories, weighted):
    generator = np.random.default_rng(seed)
    probabilities = generator.integers(0, 5, (size, categories)) / 4
    labels = generator.integers(0, 2, (size, categories))
    thresholds = generator.integers(0, 6, categories) / 4  # 1.25: nothing is claimed
    weights = generator.integers(1, 4, size) if weighted else None
    ours = precision_recall_f1(probabilities, labels, thresholds, weights)
    for c in range(categories):
        predicted = probabilities[:, c] >= thresholds[c]
        theirs = precision_recall_fscore_support(
            labels[:, c], predicted, average="binary", sample_weight=weights, zero_division=0
        )
        np.testing.assert_allclose([ours.precision[c], ours.recall[c], ours.f1[c]], theirs[:3], atol=1e-12)


def test_precision_recall_f1_of_many_weightings():
    generator = np.random.default_rng(1)
    probabilities, labels = generator.random((30, 3)), generator.integers(0, 2, (30, 3))
    weights = generator.integers(0, 3, (30, 5))
    together = precision_recall_f1(probabilities, labels, [0.3, 0.5, 0.7], weights)
    for r in range(5):
        alone = precision_recall_f1(probabilities, labels, [0.3, 0.5, 0.7], weights[:, r])
        np.testing.assert_allclose(np.array(together)[:, :, r], np.array(alone))


@quick
@given(seed=st.integers(0, 1000), size=st.integers(1, 30))
def test_vad_error_equals_sklearn(seed, size):
    predicted, rated = np.random.default_rng(seed).uniform(1, 10, (2, size, 3))
    expected = mean_absolute_error(rated, predicted, multioutput="raw_values")
    np.testing.assert_allclose(vad_mean_absolute_error(predicted, rated), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: average_precision([0.1, np.nan], [0, 1]), "NaN"),
        (lambda: average_precision([0.1, np.inf], [0, 1]), "infinite"),
        (lambda: average_precision([0.1], [0, 1]), "shape"),
        (lambda: average_precision([0.1, 0.2], [0, 2]), "0 or 1"),
        (lambda: average_precision([0.1, 0.2], [0, np.nan]), "0 or 1"),
        (lambda: average_precision([], []), "empty"),
        (lambda: average_precision([0.1, 0.2], [0, 1], [1, -1]), "weights"),
        (lambda: average_precision([0.1, 0.2], [0, 1], [1]), "weights"),
        (lambda: mean_average_precision([0.1, 0.2], [0, 1]), "axes"),
        (lambda: precision_recall_f1([[0.1]], [[1]], [0.5, 0.5]), "thresholds"),
        (lambda: vad_mean_absolute_error([[1.0]], [[1.0, 2.0]]), "shape"),
        (lambda: vad_mean_absolute_error([[1.0]], [[np.nan]]), "NaN"),
        (lambda: vad_mean_absolute_error(np.zeros((0, 3)), np.zeros((0, 3))), "empty"),
    ],
)
def test_senseless_arrays_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()

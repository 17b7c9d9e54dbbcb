"""Platt scaling against scikit-learn's, thresholds against trying every one."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit, softmax
from sklearn.calibration import _sigmoid_calibration
from sklearn.metrics import f1_score, log_loss

from mmer_core.evaluation.calibration import (
    SMALLEST_SLOPE,
    PlattScaling,
    TemperatureScaling,
    f1_thresholds,
)
from mmer_core.evaluation.emotion_metrics import mean_average_precision, precision_recall_f1

quick = settings(max_examples=40)


def draw(seed, size=400, slope=1.5, intercept=-1.0, scale=2.0):
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, scale, (size, 1))
    return logits, (generator.random((size, 1)) < expit(slope * logits + intercept)).astype(int)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [0.1, 2.0, 50.0])
def test_fit_equals_sklearn(seed, scale):
    logits, labels = draw(seed, slope=1.5 * 2 / scale, scale=scale)
    scaling = PlattScaling.fit(logits, labels)
    a, b = _sigmoid_calibration(logits[:, 0], labels[:, 0])  # expit(-(a x + b))
    np.testing.assert_allclose(scaling.probabilities(logits)[:, 0], expit(-(a * logits[:, 0] + b)), atol=1e-4)


def test_fit_recovers_the_scaling_that_made_the_labels():
    scaling = PlattScaling.fit(*draw(0, size=50_000))
    assert scaling.slope[0] == pytest.approx(1.5, rel=0.05)
    assert scaling.intercept[0] == pytest.approx(-1.0, rel=0.05)


@pytest.mark.parametrize("label", [0, 1])
def test_a_category_of_one_label_gets_the_smoothed_prevalence(label):
    logits = np.linspace(-3, 5, 8)[:, None]
    scaling = PlattScaling.fit(logits, np.full((8, 1), label))
    assert scaling.slope[0] == SMALLEST_SLOPE
    expected = 9 / 10 if label else 1 / 10
    np.testing.assert_allclose(scaling.probabilities(logits).mean(), expected, atol=1e-6)


def test_constant_logits_give_the_mean_target():
    labels = np.array([[1], [0], [0], [0]])
    probabilities = PlattScaling.fit(np.full((4, 1), 7.0), labels).probabilities(np.full((4, 1), 7.0))
    np.testing.assert_allclose(probabilities, (2 / 3 + 3 / 5) / 4, atol=1e-6)


@quick
@given(seed=st.integers(0, 10_000), size=st.integers(1, 40))
def test_ranking_survives_calibration(seed, size):
    generator = np.random.default_rng(seed)
    logits, labels = generator.normal(0, 3, (size, 3)), generator.integers(0, 2, (size, 3))
    scaling = PlattScaling.fit(logits, labels)
    assert (scaling.slope >= SMALLEST_SLOPE).all()
    assert np.isfinite(scaling.intercept).all()
    before = mean_average_precision(logits, labels)
    assert mean_average_precision(scaling.probabilities(logits), labels) == pytest.approx(before, nan_ok=True)


def test_a_separable_category_stays_finite():
    scaling = PlattScaling.fit([[-2.0], [-1.0], [1.0], [2.0]], [[0], [0], [1], [1]])
    assert np.isfinite([scaling.slope[0], scaling.intercept[0]]).all()
    np.testing.assert_allclose(scaling.intercept, 0, atol=1e-5)


def test_json_round_trip_is_exact():
    scaling = PlattScaling.fit(*draw(3))
    restored = PlattScaling.from_dict(json.loads(json.dumps(scaling.to_dict())))
    assert restored.slope.tolist() == scaling.slope.tolist()
    assert restored.intercept.tolist() == scaling.intercept.tolist()


@pytest.mark.parametrize(
    "fields",
    [{}, {"slope": [1.0]}, {"slope": [1.0], "intercept": [1.0, 2.0]}, {"slope": [np.nan], "intercept": [0]}],
)
def test_broken_dicts_raise(fields):
    with pytest.raises(ValueError, match=r"slope|intercept"):
        PlattScaling.from_dict(fields)


def test_other_number_of_categories_raises():
    with pytest.raises(ValueError, match="categories"):
        PlattScaling(np.ones(2), np.zeros(2)).probabilities(np.zeros((4, 3)))


@settings(max_examples=80)
@given(rows=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=1, max_size=20))
def test_thresholds_reach_the_best_f1(rows):
    probabilities, labels = (np.array(column) for column in zip(*rows, strict=True))
    probabilities = probabilities / 6
    threshold = f1_thresholds(probabilities[:, None], labels[:, None])
    if not labels.any():
        assert threshold[0] == 1
        return
    every = [f1_score(labels, probabilities >= t, zero_division=0) for t in (*np.unique(probabilities), 1.1)]
    reached = precision_recall_f1(probabilities[:, None], labels[:, None], threshold).f1[0]
    assert reached == pytest.approx(max(every))


def test_threshold_lies_in_the_middle_of_the_gap():
    assert f1_thresholds([[0.1], [0.3], [0.7], [0.9]], [[0], [0], [1], [1]])[0] == pytest.approx(0.5)


def test_threshold_between_neighbouring_floats_still_separates_them():
    lower = 0.3
    upper = np.nextafter(lower, 1)
    threshold = f1_thresholds([[lower], [upper]], [[0], [1]])
    assert precision_recall_f1([[lower], [upper]], [[0], [1]], threshold).f1[0] == 1


def test_probabilities_outside_the_range_raise():
    with pytest.raises(ValueError, match=r"0\.\.1"):
        f1_thresholds(logit([[0.2]]), [[1]])


@pytest.mark.long
@pytest.mark.parametrize("sharp", [0.2, 1.0, 6.0])
def test_the_temperature_is_the_best_of_all_and_changes_no_prediction(sharp):
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 4, 500)
    logits = sharp * (generator.normal(size=(500, 4)) + 1.5 * np.eye(4)[truth])
    scaling = TemperatureScaling.fit(logits, np.eye(4)[truth])
    every = np.geomspace(0.05, 50, 2000)
    losses = [log_loss(truth, softmax(logits / one, axis=1)) for one in every]
    assert scaling.temperature == pytest.approx(every[np.argmin(losses)], rel=0.01)
    found = scaling.probabilities(logits)
    assert log_loss(truth, found) <= min(losses) + 1e-9
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == logits.argmax(axis=1)).all()
    tensor = torch.from_numpy(logits)
    np.testing.assert_allclose(scaling.activation(scaling.calibrated(tensor)), found)

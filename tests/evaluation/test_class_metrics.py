"""Single-label metrics against scikit-learn, and their intervals against resampled data sets."""

import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from mmer_core.config import EvaluationConfig
from mmer_core.evaluation.class_metrics import METRICS, class_counts, confusion_matrix, evaluate_classes

NAMES = ("bad", "fair", "good", "never")


def drawn(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities ``(N, 4)``, and classes of which the last has no sample, though it is predicted."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, count, p=(0.6, 0.3, 0.1))
    logits = rng.normal(size=(count, 4)) + 1.2 * np.eye(4)[truth]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), truth


def of_sklearn(predicted: np.ndarray, truth: np.ndarray, **weights: np.ndarray) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # y_pred contains classes not in y_true
        return [
            100 * sk.accuracy_score(truth, predicted, **weights),
            100 * sk.balanced_accuracy_score(truth, predicted, **weights),
            100 * sk.f1_score(truth, predicted, average="macro", zero_division=0, **weights),
            100 * sk.f1_score(truth, predicted, average="weighted", zero_division=0, **weights),
        ]


@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_those_of_scikit_learn(seed):
    probabilities, truth = drawn(seed)
    predicted = probabilities.argmax(axis=1)
    found = evaluate_classes(probabilities, np.eye(4)[truth], NAMES, EvaluationConfig(resamples=20))
    np.testing.assert_allclose(
        [found.metrics[name].value for name in METRICS[:4]], of_sklearn(predicted, truth)
    )
    majority = np.full_like(truth, np.bincount(truth).argmax())
    np.testing.assert_allclose([found.baselines[name] for name in METRICS[:4]], of_sklearn(majority, truth))
    ap = [sk.average_precision_score(truth == c, probabilities[:, c]) for c in range(3)]
    assert found.metrics["map"].value == pytest.approx(100 * np.mean(ap))
    matrix = sk.confusion_matrix(truth, predicted, labels=range(4))
    assert found.confusion == tuple(map(tuple, matrix.tolist()))
    assert (matrix == confusion_matrix(predicted, truth, 4)).all()
    each = sk.precision_recall_fscore_support(truth, predicted, labels=range(4), zero_division=0)
    rows = [(one.precision, one.recall, one.f1, one.prevalence * len(truth)) for one in found.per_category]
    np.testing.assert_allclose(np.transpose(rows) / 100, each)
    binary = [100 * sk.accuracy_score(truth == c, predicted == c) for c in range(4)]
    np.testing.assert_allclose([one.accuracy for one in found.per_category], binary)


def test_weights_count_as_copies_of_samples():
    probabilities, truth = drawn(9)
    predicted = probabilities.argmax(axis=1)
    weights = np.random.default_rng(3).integers(0, 3, size=(60, 2)).astype(float)
    found = class_counts(predicted, truth, 4, weights).averages()
    for column in range(2):
        copies = np.repeat(np.arange(60), weights[:, column].astype(int))
        np.testing.assert_allclose(100 * found[:, column], of_sklearn(predicted[copies], truth[copies]))


def test_a_sample_of_two_classes_or_none_is_refused():
    probabilities, truth = drawn(0)
    for wrong in (np.ones((60, 4)), np.zeros((60, 4))):
        with pytest.raises(ValueError, match="exactly one class"):
            evaluate_classes(probabilities, wrong, NAMES, EvaluationConfig())
    assert len(truth) == 60

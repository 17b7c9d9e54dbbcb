"""Calibration figures against scikit-learn, torchmetrics and data of known calibration."""

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import binary_calibration_error

from mmer_core.evaluation.calibration_error import calibration_figures


def test_the_figures_of_two_libraries():
    rng = np.random.default_rng(0)
    probabilities, labels = rng.random((300, 4)), rng.integers(0, 2, (300, 4))
    found = calibration_figures(probabilities, labels, bins=15)
    flat, truth = torch.tensor(probabilities).flatten(), torch.tensor(labels).flatten()
    # torchmetrics judges the probability of category 1 as it is.
    assert found.error == pytest.approx(float(binary_calibration_error(flat, truth, n_bins=15)), abs=1e-6)
    assert found.brier == pytest.approx(brier_score_loss(truth.numpy(), flat.numpy()))
    assert sum(point.n for point in found.bins) == 1200


def test_honest_probabilities_have_hardly_an_error():
    probabilities = np.random.default_rng(0).random((20_000, 2))
    honest = np.random.default_rng(1).random((20_000, 2)) < probabilities
    assert calibration_figures(probabilities, honest).error < 0.01
    assert calibration_figures(probabilities**2, honest).error == pytest.approx(1 / 2 - 1 / 3, abs=0.01)


def test_ends_count_and_what_is_no_probability_is_refused():
    sure = calibration_figures([[0.0], [1.0]], [[0], [1]])
    assert (sure.error, sure.brier) == (0, 0)
    assert [(point.probability, point.share) for point in sure.bins] == [(0, 0), (1, 1)]
    with pytest.raises(ValueError, match=r"0\.\.1"):
        calibration_figures([[1.2]], [[1]])

"""The two-way loss against its formula, written slowly."""

import math

import numpy as np
import pytest
import torch

from mmer_core.config import TrainingConfig
from mmer_core.objectives import CATEGORY_OBJECTIVES
from mmer_core.objectives.two_way import TwoWayLoss


def slowly(logits: np.ndarray, targets: np.ndarray, positive: float, negative: float) -> float:
    def rows(x: np.ndarray, y: np.ndarray) -> list[float]:
        found = []
        for row, marks in zip(x, y, strict=True):
            above = [math.exp(-value / positive) for value, mark in zip(row, marks, strict=True) if mark]
            below = [math.exp(value / negative) for value, mark in zip(row, marks, strict=True) if not mark]
            if above:
                gap = (
                    positive * math.log(sum(above)) + negative * math.log(sum(below)) if below else -math.inf
                )
                found.append(math.log1p(math.exp(gap)))
        return found

    return float(np.mean(rows(logits, targets)) + np.mean(rows(logits.T, targets.T)))


@pytest.mark.parametrize(("positive", "negative"), [(4.0, 1.0), (0.5, 2.0)])
def test_the_formula(positive: float, negative: float):
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(0, 3, (9, 5)), rng.random((9, 5)) < 0.3
    targets[0], targets[1], targets[:, 4] = True, False, False  # without a negative, without a positive
    loss = TwoWayLoss(positive_temperature=positive, negative_temperature=negative)
    x = torch.tensor(logits, requires_grad=True)
    found = loss(x, torch.tensor(targets, dtype=torch.float64))
    assert found.item() == pytest.approx(slowly(logits, targets, positive, negative))
    found.backward()
    assert torch.isfinite(x.grad).all()


def test_a_batch_without_a_positive_costs_nothing():
    x = torch.ones(3, 2, requires_grad=True)
    loss = TwoWayLoss()(x, torch.zeros(3, 2))
    loss.backward()
    assert loss.item() == 0
    assert not x.grad.any()


def test_a_training_takes_it_with_its_options():
    config = TrainingConfig(categories="two-way", two_way={"positive_temperature": 2})
    found = CATEGORY_OBJECTIVES.configured("two-way", config)
    assert repr(found) == "TwoWayLoss(positive_temperature=2.0, negative_temperature=1.0)"

"""Cross-entropy of single-label datasets against torch's own, and the focal formula written slowly."""

import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from mmer_core.objectives import CLASS_OBJECTIVES, ClassObjective

LOGITS = torch.randn(40, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
CLASSES = torch.randint(5, (40,), generator=torch.Generator().manual_seed(1))
TARGETS = torch.eye(5, dtype=torch.float64)[CLASSES]


def fitted(name: str, **options: float | str) -> ClassObjective:
    loss = CLASS_OBJECTIVES.make(name, **options)
    loss.fit(TARGETS)
    return loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_without_gamma_it_is_that_of_torch(weights, smoothing):
    own = torch.from_numpy(compute_class_weight("balanced", classes=np.arange(5), y=CLASSES.numpy()))
    expected = torch.nn.functional.cross_entropy(
        LOGITS, CLASSES, own if weights == "balanced" else None, label_smoothing=smoothing
    )
    torch.testing.assert_close(
        fitted("cross_entropy", weights=weights, smoothing=smoothing)(LOGITS, TARGETS), expected
    )


@pytest.mark.parametrize("weights", ["none", "balanced"])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_with_gamma_it_is_the_focal_formula(gamma, weights):
    counts = np.bincount(CLASSES)
    total = weight_of_all = 0.0
    for row, truth in zip(LOGITS.tolist(), CLASSES.tolist(), strict=True):
        p = math.exp(row[truth]) / sum(map(math.exp, row))
        alpha = 40 / (5 * counts[truth]) if weights == "balanced" else 1.0
        total -= alpha * (1 - p) ** gamma * math.log(p)
        weight_of_all += alpha
    found = fitted("softmax_focal", gamma=gamma, weights=weights)(LOGITS, TARGETS).item()
    assert found == pytest.approx(total / weight_of_all, rel=1e-9)


def test_what_is_right_beyond_doubt_has_a_finite_gradient():
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    fitted("softmax_focal", gamma=0.5)(logits, torch.tensor([[1.0, 0.0]])).backward()
    assert torch.isfinite(logits.grad).all()

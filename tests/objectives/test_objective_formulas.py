"""Each objective against plain loops over Python floats."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmer_core.errors import ConfigError
from mmer_core.objectives import (
    CATEGORY_OBJECTIVES,
    CONTINUOUS_OBJECTIVES,
    CONTRASTIVE_OBJECTIVES,
)

quick = settings(max_examples=25)
sizes = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(0, 10_000))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def category_case(size):
    rows, columns, seed = size
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, (rows, columns))
    return logits, (generator.random((rows, columns)) < 0.4).astype(float)


def looped_mean(logits, targets, cell):
    cells = [
        cell(x, y)
        for row, truth in zip(logits, targets, strict=True)
        for x, y in zip(row, truth, strict=True)
    ]
    return sum(cells) / len(cells)


def check(loss, arguments, expected):
    """The value is the expected one and every gradient is finite."""
    tensors = [torch.tensor(argument) for argument in arguments]
    tensors[0].requires_grad_(True)
    value = loss(*tensors)
    assert value.shape == ()
    assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    value.backward()
    assert torch.isfinite(tensors[0].grad).all()


@quick
@given(size=sizes)
def test_bce(size):
    logits, targets = category_case(size)
    expected = looped_mean(
        logits, targets, lambda x, y: -(y * math.log(sigmoid(x)) + (1 - y) * math.log(sigmoid(-x)))
    )
    check(CATEGORY_OBJECTIVES.make("bce"), (logits, targets), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.25, 1.0])
@quick
@given(size=sizes)
def test_focal(gamma, alpha, size):
    logits, targets = category_case(size)

    def cell(x, y):
        truth = sigmoid(x) if y else sigmoid(-x)
        weight = 1 if alpha is None else (alpha if y else 1 - alpha)
        return -weight * (1 - truth) ** gamma * math.log(truth)

    check(
        CATEGORY_OBJECTIVES.make("focal", gamma=gamma, alpha=alpha),
        (logits, targets),
        looped_mean(logits, targets, cell),
    )


@pytest.mark.parametrize("gamma_neg", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("gamma_pos", [0.0, 1.0])
@pytest.mark.parametrize("margin", [0.0, 0.05, 0.5])
@settings(max_examples=10)
@given(size=sizes)
def test_asymmetric(gamma_neg, gamma_pos, margin, size):
    logits, targets = category_case(size)

    def cell(x, y):
        p = sigmoid(x)
        q = max(p - margin, 0)
        return -((1 - p) ** gamma_pos) * math.log(p) if y else -(q**gamma_neg) * math.log(1 - q)

    loss = CATEGORY_OBJECTIVES.make("asymmetric", gamma_neg=gamma_neg, gamma_pos=gamma_pos, margin=margin)
    check(loss, (logits, targets), looped_mean(logits, targets, cell))


@pytest.mark.parametrize("weights", ["mean", "static", "dynamic"])
@pytest.mark.parametrize("offset", [1.2, 2.0])
@quick
@given(size=sizes)
def test_weighted_mse(weights, offset, size):
    logits, targets = category_case(size)
    rows, columns = logits.shape
    prevalence = [0.1 * (c + 1) for c in range(columns)] if weights == "static" else None
    expected = 0.0
    for c in range(columns):
        share = prevalence[c] if prevalence else sum(targets[:, c]) / rows
        weight = 1 / columns if weights == "mean" else 1 / math.log(offset + share)
        expected += (
            weight
            * sum((sigmoid(x) - y) ** 2 for x, y in zip(logits[:, c], targets[:, c], strict=True))
            / rows
        )
    loss = CATEGORY_OBJECTIVES.make("weighted_mse", weights=weights, offset=offset).double()
    if prevalence:
        loss.fit(torch.tensor([prevalence]))
        # The buffer is float32: give the loop the same rounded shares through a wider tolerance.
        assert loss(torch.tensor(logits), torch.tensor(targets)).item() == pytest.approx(expected, rel=1e-6)
    else:
        check(loss, (logits, targets), expected)


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
@quick
@given(size=sizes)
def test_smooth_l1(beta, size):
    predictions, truth = category_case(size)
    ratings = 1 + 9 * truth

    def cell(x, y):
        error = abs(x - y)
        return error**2 / (2 * beta) if error < beta else error - beta / 2

    check(
        CONTINUOUS_OBJECTIVES.make("smooth_l1", beta=beta),
        (predictions, ratings),
        looped_mean(predictions, ratings, cell),
    )


@pytest.mark.parametrize("margin", [0.0, 0.1, 1.0, 4.0])
@quick
@given(size=sizes)
def test_margin_l2(margin, size):
    predictions, truth = category_case(size)
    ratings = 1 + 9 * truth

    def cell(x, y):
        return (x - y) ** 2 if abs(x - y) > margin else 0.0

    expected = looped_mean(predictions, ratings, cell)
    check(CONTINUOUS_OBJECTIVES.make("margin_l2", margin=margin), (predictions, ratings), expected)


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in CATEGORY_OBJECTIVES]
    + [("focal", {"gamma": 0.5}), ("asymmetric", {"gamma_pos": 0.5, "gamma_neg": 0.5})],
)
@pytest.mark.parametrize("size", [60.0, 1e4])
def test_category_objectives_survive_extreme_logits(name, options, size):
    logits = torch.tensor([[size, -size, size, -size]], requires_grad=True)
    loss = CATEGORY_OBJECTIVES.make(name, **options)(logits, torch.tensor([[1.0, 0.0, 0.0, 1.0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    perfect = CATEGORY_OBJECTIVES.make(name, **options)(logits[:, :2], torch.tensor([[1.0, 0.0]]))
    assert perfect.item() == pytest.approx(0, abs=1e-12)
    assert loss.item() > 0.1


@pytest.mark.parametrize("registry", [CATEGORY_OBJECTIVES, CONTINUOUS_OBJECTIVES, CONTRASTIVE_OBJECTIVES])
def test_unknown_name_lists_the_known_ones(registry):
    with pytest.raises(ConfigError, match="'nope'") as error:
        registry.make("nope")
    assert all(name in str(error.value) for name in registry)


@pytest.mark.parametrize(
    ("registry", "name", "options"),
    [
        (CATEGORY_OBJECTIVES, "focal", {"gamma": -1}),
        (CATEGORY_OBJECTIVES, "focal", {"alpha": 1.5}),
        (CATEGORY_OBJECTIVES, "asymmetric", {"gamma_pos": -1}),
        (CATEGORY_OBJECTIVES, "asymmetric", {"margin": 1}),
        (CATEGORY_OBJECTIVES, "weighted_mse", {"weights": "odd"}),
        (CATEGORY_OBJECTIVES, "weighted_mse", {"prevalence": [0.5]}),
        (CATEGORY_OBJECTIVES, "weighted_mse", {"offset": 1.0}),
        (CONTINUOUS_OBJECTIVES, "smooth_l1", {"beta": 0}),
        (CONTINUOUS_OBJECTIVES, "margin_l2", {"margin": -1}),
        (CONTRASTIVE_OBJECTIVES, "triplet", {"margin": -0.1}),
        (CONTRASTIVE_OBJECTIVES, "cosine_margin", {"margin": 2}),
    ],
)
def test_impossible_options_are_config_errors(registry, name, options):
    with pytest.raises(ConfigError):
        registry.make(name, **options)


def test_static_weights_are_those_of_the_labels_that_were_fitted():
    logits, targets = torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    fixed = CATEGORY_OBJECTIVES.make("weighted_mse", weights="static")
    with pytest.raises(ConfigError, match="fit"):
        fixed(logits, targets)
    fixed.fit(targets)
    assert fixed(logits, targets) == CATEGORY_OBJECTIVES.make("weighted_mse")(logits, targets)

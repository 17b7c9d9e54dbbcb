"""Each objective against plain loops over Python floats."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmer_core.config import TrainingConfig
from mmer_core.errors import ConfigError
from mmer_core.models.objectives import (
    CATEGORY_OBJECTIVES,
    CONTINUOUS_OBJECTIVES,
    CONTRASTIVE_OBJECTIVES,
    category_objective,
    continuous_objective,
    contrastive_objective,
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
    check(category_objective("bce"), (logits, targets), expected)


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
        category_objective("focal", gamma=gamma, alpha=alpha),
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

    loss = category_objective("asymmetric", gamma_neg=gamma_neg, gamma_pos=gamma_pos, margin=margin)
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
    loss = category_objective("weighted_mse", weights=weights, prevalence=prevalence, offset=offset).double()
    if prevalence:
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
        continuous_objective("smooth_l1", beta=beta),
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
    check(continuous_objective("margin_l2", margin=margin), (predictions, ratings), expected)


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in CATEGORY_OBJECTIVES]
    + [("focal", {"gamma": 0.5}), ("asymmetric", {"gamma_pos": 0.5, "gamma_neg": 0.5})],
)
@pytest.mark.parametrize("size", [60.0, 1e4])
def test_category_objectives_survive_extreme_logits(name, options, size):
    logits = torch.tensor([[size, -size, size, -size]], requires_grad=True)
    loss = category_objective(name, **options)(logits, torch.tensor([[1.0, 0.0, 0.0, 1.0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    perfect = category_objective(name, **options)(logits[:, :2], torch.tensor([[1.0, 0.0]]))
    assert perfect.item() == pytest.approx(0, abs=1e-12)
    assert loss.item() > 0.1


def test_registries_hold_exactly_the_configured_names():
    fields = TrainingConfig.model_fields
    assert set(get_args(fields["categories"].annotation)) == set(CATEGORY_OBJECTIVES)
    assert set(get_args(fields["continuous"].annotation)) == set(CONTINUOUS_OBJECTIVES)
    assert set(get_args(fields["contrastive"].annotation)) == set(CONTRASTIVE_OBJECTIVES)


@pytest.mark.parametrize(
    ("build", "registry"),
    [
        (category_objective, CATEGORY_OBJECTIVES),
        (continuous_objective, CONTINUOUS_OBJECTIVES),
        (contrastive_objective, CONTRASTIVE_OBJECTIVES),
    ],
)
def test_unknown_name_lists_the_known_ones(build, registry):
    with pytest.raises(ConfigError, match="'nope'") as error:
        build("nope")
    assert all(name in str(error.value) for name in registry)


@pytest.mark.parametrize(
    ("build", "name", "options"),
    [
        (category_objective, "focal", {"gamma": -1}),
        (category_objective, "focal", {"alpha": 1.5}),
        (category_objective, "asymmetric", {"gamma_pos": -1}),
        (category_objective, "asymmetric", {"margin": 1}),
        (category_objective, "weighted_mse", {"weights": "odd"}),
        (category_objective, "weighted_mse", {"weights": "static"}),
        (category_objective, "weighted_mse", {"prevalence": [0.5]}),
        (category_objective, "weighted_mse", {"weights": "static", "prevalence": [1.5]}),
        (category_objective, "weighted_mse", {"offset": 1.0}),
        (continuous_objective, "smooth_l1", {"beta": 0}),
        (continuous_objective, "margin_l2", {"margin": -1}),
        (contrastive_objective, "triplet", {"margin": -0.1}),
        (contrastive_objective, "cosine_margin", {"margin": 2}),
    ],
)
def test_impossible_options_are_config_errors(build, name, options):
    with pytest.raises(ConfigError):
        build(name, **options)

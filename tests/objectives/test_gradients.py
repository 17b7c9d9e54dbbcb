"""Gradients of every objective and of our own layers against finite differences, in float64."""

import pytest
import torch
from torch.autograd import gradcheck

from mmer_core.models.layers import EmotionHead, Projection, Standardise
from mmer_core.objectives import (
    CATEGORY_OBJECTIVES,
    CONTINUOUS_OBJECTIVES,
    CONTRASTIVE_OBJECTIVES,
)

CATEGORY_CASES = [
    *((name, {}) for name in CATEGORY_OBJECTIVES),
    ("focal", {"gamma": 0.5, "alpha": None}),
    ("asymmetric", {"gamma_neg": 2.0, "gamma_pos": 0.0, "margin": 0.0}),
    ("weighted_mse", {"weights": "mean"}),
    ("weighted_mse", {"weights": "static"}),
]

PAIRED = [name for name, objective in CONTRASTIVE_OBJECTIVES.items() if not objective.grouped]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize(("name", "options"), CATEGORY_CASES)
@pytest.mark.parametrize("seed", range(3))
def test_category_objectives(name, options, seed):
    targets = (normal(5, 3, seed=seed + 50) > 0.4).double()
    loss = CATEGORY_OBJECTIVES.make(name, **options).double()
    loss.fit(targets)
    assert gradcheck(lambda logits: loss(logits, targets), (2 * normal(5, 3, seed=seed)).requires_grad_())


@pytest.mark.parametrize("name", CONTINUOUS_OBJECTIVES)
@pytest.mark.parametrize("seed", range(3))
def test_continuous_objectives(name, seed):
    ratings = 5 + 2 * normal(5, 3, seed=seed + 50)
    loss = CONTINUOUS_OBJECTIVES.make(name).double()
    assert gradcheck(lambda rated: loss(rated, ratings), (5 + normal(5, 3, seed=seed)).requires_grad_())


@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.parametrize("ids", [[0, 1, 2, 3], [0, 1, 0, 2], [4, 4, 4, 4]])
def test_contrastive_objectives(name, ids):
    loss = CONTRASTIVE_OBJECTIVES.make(name).double()
    image, text = (torch.nn.functional.normalize(normal(4, 5, seed=seed)) for seed in (1, 2))
    scale = torch.tensor(6.0, dtype=torch.float64)
    inputs = [tensor.requires_grad_() for tensor in (image, text, scale)]
    assert gradcheck(lambda image, text, scale: loss(image, text, torch.tensor(ids), scale), inputs)


def with_parameters(module: torch.nn.Module):
    """The module as a function of its input and all its parameters, and these parameters."""
    names = [name for name, _ in module.named_parameters()]

    def call(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        said = torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))
        return torch.cat(said, dim=1) if isinstance(said, tuple) else said

    return call, tuple(value.detach().clone().requires_grad_() for _, value in module.named_parameters())


@pytest.mark.parametrize("hidden", [0, 4])
def test_projections(hidden):
    torch.manual_seed(0)
    projection = Projection(6, 3, hidden, dropout=0.3).double().eval()
    projection.standardise.fit(3 * normal(20, 6, seed=3) + 1)
    call, parameters = with_parameters(projection)
    assert gradcheck(call, (normal(4, 6).requires_grad_(), *parameters))


@pytest.mark.parametrize("dimensions", [0, 3])
def test_heads(dimensions):
    torch.manual_seed(0)
    head = EmotionHead(6, 4, dimensions).double()
    head.fit((normal(20, 4, seed=1) > 0).double(), 5 + normal(20, dimensions, seed=2))
    call, parameters = with_parameters(head)
    assert gradcheck(call, (normal(4, 6).requires_grad_(), *parameters))


def test_standardising():
    layer = Standardise(6).double()
    layer.fit(3 * normal(20, 6, seed=3) + 1)
    assert gradcheck(layer, normal(4, 6).requires_grad_())

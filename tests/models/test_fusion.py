"""Each fusion against its formula in NumPy, with and without streams missing, and its gradients."""

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf
from torch import nn

from mmer_core.config import Fusion
from mmer_core.models.fusion import FUSIONS

STREAMS, WIDTH, ROWS = 3, 8, 7


def fusion(name: str) -> nn.Module:
    """With random parameters, so that nothing stands at its start, in float64."""
    torch.manual_seed(0)
    module = FUSIONS[name](STREAMS, WIDTH).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) / 2)
    return module


def case(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    present = rng.random((ROWS, STREAMS)) < 0.6
    present[0], present[1] = True, False
    streams = rng.normal(size=(ROWS, STREAMS, WIDTH)) * present[..., None]
    return torch.from_numpy(streams), torch.from_numpy(present)


def parameters(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in module.named_parameters()}


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def mean(p, own, which):
    return own.mean(axis=0) if len(own) else np.zeros(WIDTH)


def product(p, own, which):
    pairs = [own[i] * own[j] for i in range(len(own)) for j in range(i)]
    return mean(p, own, which) + (np.mean(pairs, axis=0) if pairs else 0)


def weighted(p, own, which):
    return softmax(p["weight"][which]) @ own if len(own) else np.zeros(WIDTH)


def gated(p, own, which):
    return softmax(own @ p["gate.weight"][0] + p["bias"][which]) @ own if len(own) else np.zeros(WIDTH)


def concat(p, own, which):
    maps = np.split(p["mix.weight"], STREAMS, axis=1)
    absent = [s for s in range(STREAMS) if s not in which]
    heard = sum((maps[s] @ e for s, e in zip(which, own, strict=True)), np.zeros(WIDTH))
    return heard + p["mix.bias"] + p["absent"][absent].sum(axis=0)


def attention(p, own, which):
    query = p["query"][0]
    tokens = np.stack([query, *(e + p["stream"][s] for s, e in zip(which, own, strict=True))])
    ask, key, value = np.split(p["attention.in_proj_weight"], 3)
    ask_0, key_0, value_0 = np.split(p["attention.in_proj_bias"], 3)
    heads = []
    for part in np.split(np.arange(WIDTH), 4):
        q = (ask @ query + ask_0)[part]
        k, v = (tokens @ key.T + key_0)[:, part], (tokens @ value.T + value_0)[:, part]
        heads.append(softmax(k @ q / np.sqrt(len(part))) @ v)
    gathered = p["attention.out_proj.weight"] @ np.concatenate(heads) + p["attention.out_proj.bias"]
    x = query + gathered
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * p["feed.0.weight"] + p["feed.0.bias"]
    x = p["feed.1.weight"] @ x + p["feed.1.bias"]
    x = x * (1 + erf(x / np.sqrt(2))) / 2
    return mean(p, own, which) + p["feed.3.weight"] @ x + p["feed.3.bias"]


FORMULAS = {
    "mean": mean,
    "product": product,
    "weighted": weighted,
    "gated": gated,
    "concat": concat,
    "attention": attention,
    "late": mean,
}


def test_the_names_are_those_of_the_configuration():
    assert set(get_args(Fusion)) == set(FUSIONS) == set(FORMULAS)


@pytest.mark.parametrize("name", FUSIONS)
@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_a_fusion_is_its_formula_of_the_streams_that_are_there(name, seed):
    module = fusion(name)
    streams, present = case(seed)
    expected = []
    for row, there in zip(streams.numpy(), present.numpy(), strict=True):
        which = np.flatnonzero(there)
        expected.append(FORMULAS[name](parameters(module), row[which], which))
    with torch.no_grad():
        np.testing.assert_allclose(module(streams, present).numpy(), np.array(expected), atol=1e-10)


@pytest.mark.parametrize("name", FUSIONS)
def test_gradients_are_those_of_finite_differences(name):
    module = fusion(name)
    streams, present = case(3)
    named = dict(module.named_parameters())

    def fused(streams, *values):
        masked = streams * present[..., None]
        return torch.func.functional_call(module, dict(zip(named, values, strict=True)), (masked, present))

    inputs = (streams.requires_grad_(), *(value.detach().requires_grad_() for value in named.values()))
    assert torch.autograd.gradcheck(fused, inputs)


@pytest.mark.parametrize("name", ["weighted", "attention"])
def test_training_starts_from_the_mean(name):
    torch.manual_seed(0)
    streams, present = case(5)
    fused = FUSIONS[name](STREAMS, WIDTH).double()(streams, present)
    torch.testing.assert_close(fused, FUSIONS["mean"](STREAMS, WIDTH)(streams, present))

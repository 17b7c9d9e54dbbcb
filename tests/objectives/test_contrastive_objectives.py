"""Contrastive objectives against plain loops, and what they do with several captions of one image."""

import doctest
import importlib
import math
import pkgutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmer_core import objectives
from mmer_core.objectives import CONTRASTIVE_OBJECTIVES

quick = settings(max_examples=25)
batches = st.tuples(
    st.lists(st.integers(0, 4), min_size=1, max_size=7),  # image ids
    st.integers(1, 5),  # D
    st.integers(0, 10_000),  # seed
)

PAIRED = [name for name, objective in CONTRASTIVE_OBJECTIVES.items() if not objective.grouped]


def draw(batch):
    ids, width, seed = batch
    generator = np.random.default_rng(seed)
    unit = generator.normal(size=(2, len(ids), width))
    unit /= np.linalg.norm(unit, axis=2, keepdims=True)
    return unit[0], unit[1], ids


def run(loss, image, text, ids, scale):
    image, text = (torch.tensor(rows, requires_grad=True) for rows in (image, text))
    scale = torch.tensor(float(scale), dtype=torch.float64, requires_grad=True)
    value = loss.double()(image, text, torch.tensor(ids), scale)
    value.backward()
    assert torch.isfinite(image.grad).all()
    assert torch.isfinite(text.grad).all()
    assert scale.grad is None or torch.isfinite(scale.grad)
    return value.item()


@pytest.mark.parametrize("scale", [1.0, 14.0, 100.0])
@quick
@given(batch=batches)
def test_infonce(scale, batch):
    image, text, ids = draw(batch)
    size, s = len(ids), scale * image @ text.T
    total = 0.0
    for i in range(size):
        allowed = [j for j in range(size) if j == i or ids[j] != ids[i]]
        total += math.log(sum(math.exp(s[i, j] - s[i, i]) for j in allowed))
        total += math.log(sum(math.exp(s[j, i] - s[i, i]) for j in allowed))
    value = run(CONTRASTIVE_OBJECTIVES.make("infonce"), image, text, ids, scale)
    assert value == pytest.approx(total / (2 * size), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 10.0])
@pytest.mark.parametrize("bias", [-10.0, 0.0, 2.5])
@quick
@given(batch=batches)
def test_siglip(scale, bias, batch):
    image, text, ids = draw(batch)
    size, total = len(ids), 0.0
    for i in range(size):
        for j in range(size):
            if i != j and ids[i] == ids[j]:
                continue
            z = 1 if i == j else -1
            total += math.log(1 + math.exp(-z * (scale * float(image[i] @ text[j]) + bias)))
    value = run(CONTRASTIVE_OBJECTIVES.make("siglip", bias=bias), image, text, ids, scale)
    assert value == pytest.approx(total / size, rel=1e-9)


def test_siglip_learns_its_bias():
    loss = CONTRASTIVE_OBJECTIVES.make("siglip")
    assert [parameter.item() for parameter in loss.parameters()] == [-10.0]
    loss(torch.eye(3), torch.eye(3), torch.arange(3), torch.tensor(10.0)).backward()
    assert loss.bias.grad != 0


@pytest.mark.parametrize("margin", [0.0, 0.2, 1.0])
@quick
@given(batch=batches)
def test_triplet(margin, batch):
    image, text, ids = draw(batch)
    size, s, total = len(ids), image @ text.T, 0.0
    for i in range(size):
        others = [j for j in range(size) if ids[j] != ids[i]]
        if others:
            total += max(0, margin + max(s[i, j] for j in others) - s[i, i])
            total += max(0, margin + max(s[j, i] for j in others) - s[i, i])
    value = run(CONTRASTIVE_OBJECTIVES.make("triplet", margin=margin), image, text, ids, 20.0)
    assert value == pytest.approx(total / size, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("margin", [-0.5, 0.0, 0.2])
@quick
@given(batch=batches)
def test_cosine_margin(margin, batch):
    image, text, ids = draw(batch)
    size, s = len(ids), image @ text.T
    positive = [1 - s[i, i] for i in range(size)]
    negative = [max(0, s[i, j] - margin) for i in range(size) for j in range(size) if ids[i] != ids[j]]
    expected = sum(positive) / size + (sum(negative) / len(negative) if negative else 0)
    value = run(CONTRASTIVE_OBJECTIVES.make("cosine_margin", margin=margin), image, text, ids, 20.0)
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", PAIRED)
@quick
@given(batch=batches)
def test_no_pair_of_one_image_is_ever_a_negative(name, batch):
    """With images = identity, text[j, i] *is* the similarity of pair (i, j), so its gradient shows the role."""
    ids, _, seed = batch
    image = torch.eye(len(ids), dtype=torch.float64)
    start = np.random.default_rng(seed).uniform(-1, 1, (len(ids), len(ids)))
    text = torch.tensor(start, requires_grad=True)
    scale = torch.tensor(5.0, dtype=torch.float64)
    CONTRASTIVE_OBJECTIVES.make(name).double()(image, text, torch.tensor(ids), scale).backward()
    for i in range(len(ids)):
        for j in range(len(ids)):
            gradient = text.grad[j, i].item()
            if i == j:
                assert gradient <= 0
            elif ids[i] == ids[j]:
                assert gradient == 0
            else:
                assert gradient >= 0


@pytest.mark.parametrize("name", PAIRED)
def test_real_negatives_are_pushed_away(name):
    text = torch.full((3, 3), 0.9, requires_grad=True)
    CONTRASTIVE_OBJECTIVES.make(name)(torch.eye(3), text, torch.arange(3), torch.tensor(5.0)).backward()
    assert sum(text.grad[j, i] for i in range(3) for j in range(3) if i != j) > 0


@pytest.mark.parametrize("name", ["infonce", "triplet"])
def test_a_batch_of_one_image_has_nothing_to_contrast(name):
    unit = torch.nn.functional.normalize(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)))
    ids = torch.full((5,), 3)
    assert CONTRASTIVE_OBJECTIVES.make(name)(unit, unit.flip(0), ids, torch.tensor(10.0)).item() == 0


@pytest.mark.parametrize(
    "module", [m.name for m in pkgutil.iter_modules(objectives.__path__) if m.name != "base"]
)
def test_docstring_examples_run(module):
    result = doctest.testmod(importlib.import_module(f"{objectives.__name__}.{module}"))
    assert result.attempted > 0
    assert result.failed == 0

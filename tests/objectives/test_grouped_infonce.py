"""InfoNCE with several texts an image, against a loop over choices and against plain InfoNCE."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmer_core.objectives.grouped_infonce import GroupedInfoNCE
from mmer_core.objectives.infonce import InfoNCE


def units(rows: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed)), dim=-1)


def by_loop(
    image: np.ndarray, text: np.ndarray, owner: np.ndarray, scale: float, hardness: float = 0.0
) -> float:
    def against(negatives: np.ndarray) -> float:
        """Sum of the negatives, each weighted by its own power and the weights scaled to mean 1."""
        weights = negatives**hardness
        return (negatives * weights / weights.mean()).sum()

    total = 0.0
    for row, own in enumerate(owner):
        among_images = np.exp(scale * image @ text[row])
        match = among_images[own]
        total -= np.log(match / (match + against(np.delete(among_images, own))))
        among_texts = np.exp(scale * text @ image[own])
        total -= np.log(match / (match + against(among_texts[owner != own])))
    return total / (2 * len(owner))


@pytest.mark.parametrize("owner", [[0, 1, 2, 3], [0, 0, 1, 2, 2, 2], [2, 0, 1, 1, 0], [3, 0, 1, 2, 0]])
@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
@pytest.mark.parametrize("hardness", [0.0, 0.3, 1.0])
def test_it_is_the_mean_over_the_choices_of_a_loop(owner, scale, hardness):
    image, text = units(max(owner) + 1, 1), units(len(owner), 2)
    found = GroupedInfoNCE(hardness=hardness)(image, text, torch.tensor(owner), torch.tensor(scale))
    expected = by_loop(image.double().numpy(), text.double().numpy(), np.array(owner), scale, hardness)
    assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_with_one_text_an_image_it_is_infonce():
    image, text = units(7, 3), units(7, 4)
    rows, scale = torch.arange(7), torch.tensor(20.0)
    torch.testing.assert_close(
        GroupedInfoNCE()(image, text, rows, scale), InfoNCE()(image, text, rows, scale)
    )


@pytest.mark.parametrize("hardness", [0.0, 0.5])
def test_gradients_are_those_of_finite_differences(hardness):
    image, text = (units(n, n).double().requires_grad_() for n in (3, 5))
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    owner = torch.tensor([0, 0, 1, 2, 2])
    loss = GroupedInfoNCE(hardness=hardness)
    assert torch.autograd.gradcheck(lambda i, t, s: loss(i, t, owner, s), (image, text, scale))


@pytest.mark.parametrize("hardness", [0.0, 0.5])
def test_a_batch_of_one_image_has_nothing_to_learn(hardness):
    image = units(1, 5).requires_grad_()
    loss = GroupedInfoNCE(hardness=hardness)(
        image, units(4, 6), torch.zeros(4, dtype=torch.int64), torch.tensor(10.0)
    )
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(image.grad, torch.zeros_like(image))

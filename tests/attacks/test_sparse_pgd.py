"""Sparse-PGD against a slow reading of its paper."""

import itertools

import numpy as np
import pytest
import torch
from support.attack_battery import Battery
from support.attack_driving import begin_on
from support.attack_toys import Curved, attacked_network, linear_victim

from mmer_core.attacks import DominantEmotionFlip, SparseRS, apply
from mmer_core.attacks.sparse_pgd import SparsePGD

BATTERY = Battery(
    SparsePGD(),
    wide=False,
    refused=({"gradient": "none"}, {"colour_step": 0}, {"mask_step": 0}, {"patience": 0}),
)


def published(
    curved: Curved, clean: np.ndarray, pixels: int, steps: int, unprojected: bool
) -> list[np.ndarray]:
    """The images of Algorithm 1, pixel by pixel; draws in the order of the attack."""
    (height, width, _), rng = clean.shape, np.random.default_rng(0)
    places = list(np.ndindex(height, width))

    def inside(change: np.ndarray) -> np.ndarray:
        return np.minimum(np.maximum(change, -clean), 1 - clean)

    def largest(mask: np.ndarray) -> set:
        return set(sorted(places, key=lambda place: -mask[place])[:pixels])

    change = inside(rng.uniform(-1, 1, (height * width, 3)).astype(np.float32).reshape(clean.shape))
    mask = rng.standard_normal(height * width, dtype=np.float32).reshape(height, width)
    images, unchanged = [], 0
    for _ in range(steps):
        chosen = largest(mask)
        image = clean.copy()
        for place in chosen:
            image[place] += change[place]
        images.append(image)
        if unchanged == 3:
            mask, unchanged = rng.standard_normal(height * width, dtype=np.float32).reshape(height, width), 0
            continue
        leaf = torch.tensor(image, requires_grad=True)
        (slope,) = torch.autograd.grad(-curved.of(leaf), leaf)  # the loss, which rises
        of_mask, moved = np.zeros_like(mask), change.copy()
        for place in places:
            by_channel, share = slope[place].numpy(), 1 / (1 + np.exp(-mask[place]))
            of_mask[place] = sum(by_channel * change[place]) * share * (1 - share)
            weight = share if unprojected else float(place in chosen)
            moved[place] += 0.25 * np.sign(by_channel * weight)
        change = inside(moved)
        mask = mask + 0.25 * (height * width) ** 0.5 * of_mask / np.sqrt((of_mask**2).sum())
        unchanged = unchanged + 1 if largest(mask) == chosen else 0
    return images


@pytest.mark.parametrize("gradient", ["unprojected", "sparse"])
def test_the_images_follow_the_paper(gradient):
    weights = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(0)) * 2
    image = np.random.default_rng(1).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    curved, steps = Curved(weights, 100), 60
    search = begin_on(curved, SparsePGD(gradient=gradient), steps, 4, image)
    asked = []
    while (candidates := search.ask(1)) is not None:
        asked.append(apply(image[None], candidates)[0])
        search.tell(np.ones(1))
    images = published(curved, image.astype(np.float32) / 255, 4, steps, gradient == "unprojected")
    np.testing.assert_allclose(np.array(asked) / 255, images, atol=0.51 / 255)
    differing = [one for one, after in itertools.pairwise(images) if not np.array_equal(one, after)]
    assert len(differing) > 20


def test_both_gradients_share_the_budget():
    image = np.random.default_rng(1).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    victim = linear_victim(np.random.default_rng(0).normal(size=(5, 6, 3)), [1e6])

    def asked(gradient: str, budget: int) -> list:
        gradients = victim.gradients(DominantEmotionFlip([0]), 0)
        search, found = begin_on(gradients, SparsePGD(gradient=gradient), budget, 4, image), []
        while (candidates := search.ask(1)) is not None:
            found.append(apply(image[None], candidates)[0].tolist())
            search.tell(np.ones(1))
        return found

    both = asked("both", 21)
    assert both[:11] == asked("unprojected", 11)
    assert len(both) == 21
    assert asked("unprojected", 21)[:11] == both[:11] != asked("sparse", 11)


def test_it_is_stronger_than_sparse_rs_with_as_many_passes():
    """Its published order. A step is a judgement and, forward and backward, a gradient: three passes."""

    def fooled(attack, budget: int) -> int:
        return sum(outcome.status == "fooled" for outcome in attacked_network(attack, 3, budget))

    assert fooled(SparsePGD(), 80) > fooled(SparseRS(), 240) > 0

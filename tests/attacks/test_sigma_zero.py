"""σ-zero against a plain reading of its paper, and what it is asked for."""

import math

import numpy as np
import pytest
import torch
from support.attack_battery import Battery
from support.attack_driving import begin_on
from support.attack_toys import Curved, linear_victim

from mmer_core.attacks import DominantEmotionFlip, RatingShift, run_attack
from mmer_core.attacks.sigma_zero import SigmaZero

BATTERY = Battery(
    SigmaZero(),
    wide=False,
    drawn=False,
    refused=({"step": 0}, {"sigma": 0}, {"threshold": 2}, {"adapt": -1}),
)


def published(
    curved: Curved, clean: torch.Tensor, steps: int, options: SigmaZero.Options
) -> list[np.ndarray]:
    """The images of Algorithm 1, by autograd, Adam's formula and a cosine; norms are those of pixels."""
    change, first = torch.zeros_like(clean, requires_grad=True), float(curved.of(clean))
    mean, square, threshold, images = 0, 0, options.threshold, []
    rates = [options.step * (0.1 + 0.9 * (1 + math.cos(math.pi * i / steps)) / 2) for i in range(steps + 1)]
    for i in range(1, steps + 1):
        images.append((clean + change.detach()).numpy())
        margin, size = curved.of(clean + change), change.square().sum(dim=2)
        loss = margin.clamp(min=0) / first + (size / (size + options.sigma)).mean()
        (gradient,) = torch.autograd.grad(loss, change)
        gradient /= gradient.abs().max()
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        step = rates[i - 1] * (mean / (1 - 0.9**i)) / ((square / (1 - 0.999**i)).sqrt() + 1e-8)
        threshold += options.adapt * (rates[i] if margin <= 0 else -rates[i])
        threshold = min(max(threshold, 0), 1)
        with torch.no_grad():
            change.copy_((clean + change - step).clamp(0, 1) - clean)
            change[change.abs().amax(dim=2) < threshold] = 0
    return images


def test_the_images_follow_the_paper():
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (5, 6, 3), generator=generator, dtype=torch.uint8)
    weights = torch.randn(5, 6, 3, generator=generator) * 2
    curved = Curved(weights, 1.5 - float((weights * 0.5).sin().sum()))
    attack, steps = SigmaZero(step=0.5, adapt=0.1), 40
    search = begin_on(curved, attack, steps, 2, image.numpy())
    while search.ask(1) is not None:
        search.tell(np.ones(1))
    images = published(curved, image / 255, steps, attack.options)
    np.testing.assert_allclose(curved.images, images, atol=2e-3)
    margins = [float(curved.of(torch.tensor(one))) for one in images]
    assert min(margins) <= 0 < margins[0], "both sides of the threshold's rule are walked"


@pytest.mark.parametrize("seed", range(3))
def test_with_fewest_it_ends_with_the_smallest_number_of_pixels_that_can_succeed(seed):
    """On a linear victim that number is known: the best pixels, at their corners, one after the other."""
    rng = np.random.default_rng(seed)
    image, weights = rng.integers(60, 190, (6, 6, 3), dtype=np.uint8), rng.normal(size=(6, 6, 3))
    gains = (
        np.sort(np.where(weights > 0, weights * (255 - image), -weights * image).sum(axis=2).ravel())[::-1]
        / 255
    )
    goal = gains[:7].sum() * 0.97  # more than the best six reach
    victim = linear_victim(weights, [float((weights * image).sum() / 255) + goal])
    found = [
        run_attack(victim, DominantEmotionFlip([0]), attack, image[None], ["a"], pixels=30, budget=300)[0]
        for attack in (SigmaZero(), SigmaZero(fewest=True))
    ]
    assert [outcome.status for outcome in found] == ["fooled", "fooled"]
    assert np.cumsum(gains).searchsorted(goal) + 1 == len(found[1].changed) < len(found[0].changed)
    assert found[0].queries < found[1].queries == 300


def test_a_flat_margin_is_left_at_random():
    """A rating that may move either way has no slope where it is."""
    weights = np.random.default_rng(0).normal(size=(6, 6, 3))
    victim = linear_victim(weights, [0.0])
    image = np.full((1, 6, 6, 3), 128, np.uint8)
    clean = float((weights * image[0]).sum() / 255)
    (outcome,) = run_attack(
        victim, RatingShift([clean], 1, 1.5), SigmaZero(), image, ["a"], pixels=5, budget=60
    )
    assert outcome.status == "fooled"

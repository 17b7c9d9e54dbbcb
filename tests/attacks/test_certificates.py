"""Certificates of randomised ablation: their chances against combinatorics, their promise against every possible attack."""

from fractions import Fraction
from itertools import combinations, product
from math import comb

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from mmer_core.attacks.certificates import (
    ABSTAINED,
    certificates,
    least_draws,
    lower_bound,
    radii,
    unseen,
)
from mmer_core.encoders.networks.ablation import kept_pixels


@given(st.integers(2, 60), st.data())
def test_chances_to_see_no_changed_pixel_are_exact(pixels: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, pixels - 1))
    expected = [comb(pixels - rho, kept) / comb(pixels, kept) for rho in range(pixels - kept + 1)]
    assert np.allclose(unseen(pixels, kept), expected, rtol=1e-12)


def test_chances_of_a_photo_are_exact() -> None:
    found = unseen(224 * 224, 2000)
    for rho in (1, 5, 16):
        assert found[rho] == pytest.approx(float(Fraction(comb(50176 - rho, 2000), comb(50176, 2000))))


def test_drawings_see_changed_pixels_as_often_as_they_should() -> None:
    """And every pixel is kept as often as any other."""
    drawn = kept_pixels(np.random.default_rng(0), (4, 5), 6, 20_000)
    assert drawn.shape == (20_000, 1, 4, 5)
    flat = drawn.flatten(1).numpy()
    assert (flat.sum(axis=1) == 6).all()
    chances = unseen(20, 6)
    for rho in (1, 2, 4):
        changed = np.random.default_rng(rho).choice(20, rho, replace=False)
        missed = int((~flat[:, changed].any(axis=1)).sum())
        assert binomtest(missed, len(flat), chances[rho]).pvalue > 1e-3
    assert np.abs(flat.mean(axis=0) - 0.3).max() < 5 * np.sqrt(0.3 * 0.7 / len(flat))


@given(st.integers(1, 400), st.floats(0.5, 0.9999), st.data())
@settings(max_examples=60)
def test_bounds_are_clopper_and_pearsons(draws: int, confidence: float, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, draws))
    exact = binomtest(hits, draws, alternative="greater").proportion_ci(confidence, method="exact")
    found = float(lower_bound(hits, draws, confidence))
    assert found == pytest.approx(exact.low, abs=1e-9)
    # What it is by definition: the share with which so many hits, or more, have a chance of 1 - confidence.
    if hits:
        assert binom.sf(hits - 1, draws, found) == pytest.approx(1 - confidence, rel=1e-6)


@pytest.mark.parametrize("share", [0.3, 0.55, 0.9, 0.99])
def test_bounds_hold_as_often_as_they_say(share: float) -> None:
    """Exactly, over all numbers of hits."""
    draws, confidence = 150, 0.99
    hits = np.arange(draws + 1)
    wrong = lower_bound(hits, draws, confidence) > share
    assert binom.pmf(hits[wrong], draws, share).sum() <= 1 - confidence


@given(st.integers(2, 40), st.floats(0, 1), st.data())
def test_radii_are_the_largest_that_the_inequality_allows(
    pixels: int, lower: float, data: st.DataObject
) -> None:
    kept = data.draw(st.integers(1, pixels - 1))
    found = int(radii(lower, pixels, kept))
    share = Fraction(lower)

    def holds(rho: int) -> bool:
        seen = 1 - Fraction(comb(pixels - rho, kept), comb(pixels, kept))
        return share - seen > Fraction(1, 2)

    assert found >= ABSTAINED
    if found >= 0:
        assert holds(found)
    # Up to the margin for rounding, no larger one does.
    share -= Fraction(1, 10**8)
    assert not holds(found + 1)


def test_least_draws_are_those_with_which_all_that_agree_exceed_a_half() -> None:
    for confidence in (0.5, 0.9, 0.95, 0.999, 0.99999):
        least = least_draws(confidence)
        assert lower_bound(least, least, confidence) > 0.5
        assert lower_bound(least - 1, least - 1, confidence) <= 0.5 + 1e-9 or least == 1


def test_what_is_guessed_is_not_counted() -> None:
    votes = [[2, 2, 0, *[2] * 30, *[1] * 10], [1, 1, 2, *[2] * 40], [0, 0, 0, *[0] * 40]]
    found = certificates(votes, 3, 0.99, pixels=100, kept=5)
    assert found.decision.tolist() == [2, 1, 0]
    assert found.hits.tolist() == [30, 0, 40]
    assert found.lower == pytest.approx(lower_bound([30, 0, 40], 40, 0.99))
    assert found.radius[1] == ABSTAINED
    assert found.radius.tolist() == radii(found.lower, 100, 5).tolist()
    assert found.radius[2] > found.radius[0] >= 0


class Tiny:
    """A drawn network of three classes on images of 3 x 3 pixels, asked about all 36 ablations that keep two of them."""

    size, pixels, kept = 3, 9, 2

    def __init__(self, seed: int, slope: float) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.hidden = torch.randn(27, 8, generator=generator, dtype=torch.float64)
        self.out = torch.randn(8, 3, generator=generator, dtype=torch.float64)
        self.bias = torch.tensor([slope, 0.0, 0.0], dtype=torch.float64)  # so that one class leads
        self.masks = torch.zeros(36, 1, 3, 3, dtype=torch.float64)
        for number, some in enumerate(combinations(range(9), 2)):
            self.masks[number].view(-1)[list(some)] = 1.0

    def decide(self, ablated: torch.Tensor) -> torch.Tensor:
        """``(B, 3, 3, 3)`` to ``(B,)``."""
        return (torch.tanh(ablated.flatten(1) @ self.hidden) @ self.out + self.bias).argmax(dim=1)

    def shares(self, images: torch.Tensor) -> torch.Tensor:
        """Exact shares ``(B, 3)`` of all ablations, of images ``(B, 3, 3, 3)``."""
        shown = images[:, None] * self.masks
        votes = self.decide(shown.flatten(0, 1)).view(len(images), -1)
        return torch.nn.functional.one_hot(votes, 3).double().mean(dim=1)


CORNERS = torch.tensor([*product((-2.0, 2.0), repeat=3)], dtype=torch.float64)


def changed(image: torch.Tensor, rho: int, colours: torch.Tensor) -> torch.Tensor:
    """Every image with ``rho`` pixels of a ``(3, 3, 3)`` replaced by some of the colours ``(C, 3)``."""
    found = []
    for places in combinations(range(9), rho):
        for some in product(range(len(colours)), repeat=rho):
            one = image.clone().view(3, 9)
            one[:, list(places)] = colours[list(some)].T
            found.append(one.view(3, 3, 3))
    return torch.stack(found)


def test_no_change_of_so_many_pixels_moves_what_is_certified() -> None:
    """Every set of pixels with every corner colour, and the exact shares: of all drawings, none left to chance."""
    certain = broken = 0
    for seed in range(12):
        model = Tiny(seed, slope=1.0 + seed / 3)
        image = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        shares = model.shares(image[None])[0]
        radius = int(radii(float(shares.max()), model.pixels, model.kept))
        for rho in (1, 2):
            others = changed(image, rho, CORNERS)
            found = model.shares(others)
            # What the theorem says, whoever leads: no share moves by more than the chance to see a changed pixel.
            assert float((found - shares).abs().max()) <= 1 - unseen(model.pixels, model.kept)[rho] + 1e-9
            flipped = bool((found.argmax(dim=1) != shares.argmax()).any())
            if radius >= rho:
                certain += 1
                assert not flipped
            broken += flipped
    assert certain >= 3
    assert broken >= 3  # so that attacks here are strong enough to break what is not certified


def test_certificates_from_draws_hold_as_often_as_they_say() -> None:
    """Of many times that votes are drawn, radii beyond the true one are as rare as the confidence says."""
    pixels, kept, confidence, draws, guesses = 60, 6, 0.9, 60, 9
    rng = np.random.default_rng(1)
    for share in (0.52, 0.7, 0.85, 0.97):
        truth = int(radii(share, pixels, kept))
        votes = (rng.random((4000, guesses + draws)) >= share).astype(np.int64)
        found = certificates(votes, guesses, confidence, pixels, kept)
        wrong = np.where(found.decision == 0, found.radius > truth, found.radius > ABSTAINED)
        assert binomtest(int(wrong.sum()), len(wrong), 1 - confidence, alternative="greater").pvalue > 1e-3


def test_the_guide_says_what_the_default_can_certify() -> None:
    """In docs/defences.md, of the default on 224 x 224 pixels."""
    five = 1 - unseen(224 * 224, 2000)[5]
    assert round(100 * five) == 18
    assert 0.68 < 0.5 + five < 0.69
    assert radii(lower_bound(200, 200, 0.999), 224 * 224, 2000) == 15

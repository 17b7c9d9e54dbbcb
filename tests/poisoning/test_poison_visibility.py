"""Visibility against torchmetrics and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from mmer_core.errors import PoisonError
from mmer_core.poisoning import structural_similarity, visibility


@settings(max_examples=25)
@given(
    seed=st.integers(0, 999), height=st.integers(11, 40), width=st.integers(11, 40), grain=st.integers(1, 120)
)
def test_it_agrees_with_torchmetrics(seed, height, width, grain):
    rng = np.random.default_rng(seed)
    clean = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    changed = (clean + rng.integers(-grain, grain + 1, clean.shape)).clip(0, 255).astype(np.uint8)
    seen = visibility(clean, changed)
    a, b = (torch.tensor(image).permute(2, 0, 1)[None].double() for image in (clean, changed))
    # It pads; the paper's window, and ours, stays inside.
    _, full = structural_similarity_index_measure(b, a, data_range=255.0, return_full_image=True)
    assert seen.ssim == pytest.approx(float(full[..., 5:-5, 5:-5].mean()), abs=1e-6)
    if seen.l2:
        assert seen.psnr == pytest.approx(float(peak_signal_noise_ratio(b, a, data_range=255.0)), abs=1e-4)


def test_by_hand():
    clean = np.full((20, 10, 3), 100, np.uint8)
    changed = clean.copy()
    changed[3, 4] = (100, 97, 104)
    changed[5, 5, 0] = 88
    seen = visibility(clean, changed)
    assert seen.l2 == 13.0
    assert (seen.linf, seen.changed) == (12, 2)
    assert seen.psnr == pytest.approx(10 * np.log10(255**2 * 600 / 169))
    assert seen.ssim < 1


def test_equal_images_and_small_ones():
    for side in (1, 2, 5, 10, 11):
        image = np.random.default_rng(side).integers(0, 256, (side, side + 1, 3), dtype=np.uint8)
        seen = visibility(image, image)
        assert (seen.l2, seen.linf, seen.changed, seen.psnr) == (0, 0, 0, np.inf)
        assert seen.ssim == pytest.approx(1)
    # Without any window it is the formula for two numbers.
    one = structural_similarity(np.full((1, 1, 3), 10), np.full((1, 1, 3), 30))
    assert one == pytest.approx((2 * 10 * 30 + 6.5025) / (10**2 + 30**2 + 6.5025))


def test_other_images_are_refused():
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(PoisonError, match="uint8"):
        visibility(image.astype(float), image)
    with pytest.raises(PoisonError, match="one size"):
        visibility(image, image[:3])

"""Resizing in NumPy against torch, bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from mmer_core.datasets.resampling import interpolated


def by_torch(picture: np.ndarray, *sizes: tuple[int, int]) -> np.ndarray:
    photo = torch.from_numpy(picture)[None].permute(0, 3, 1, 2)
    for size in sizes:
        photo = interpolate(photo, size, mode="bilinear", antialias=True)
    return photo[0, :3].permute(1, 2, 0).numpy()


def drawn(seed: int, *shape: int) -> np.ndarray:
    """Noise, or black and white only, which reach the ends of the range."""
    noise = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return np.where(noise > 127, 255, 0).astype(np.uint8) if seed % 2 else noise


@given(
    st.integers(1, 700),
    st.integers(1, 700),
    st.sampled_from([3, 4]),
    st.sampled_from([16, 17, 32, 96, 128, 224]),
    st.integers(0, 2**32),
)
@settings(max_examples=150)
def test_every_size_is_that_of_torch(height, width, channels, side, seed):
    picture = drawn(seed, height, width, channels)
    assert np.array_equal(interpolated(picture, side, side), by_torch(picture, (side, side)))


@pytest.mark.parametrize("shape", [(2500, 3700, 3), (9000, 20, 4), (3, 16000, 4)])
def test_large_pictures_and_those_of_which_the_height_comes_first(shape):
    picture = drawn(0, *shape)
    assert np.array_equal(interpolated(picture, 224, 224), by_torch(picture, (224, 224)))
    first = interpolated(picture, 224, shape[1])
    assert first.shape == (224, shape[1], 3)
    assert np.array_equal(interpolated(first, 224, 224), by_torch(picture, (224, shape[1]), (224, 224)))

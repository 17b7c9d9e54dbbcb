"""Encoders behind a filter: what the filter does, its gradient, its name."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.fft import dctn, idctn
from scipy.ndimage import median_filter

from mmer_core.encoders import load_image_encoder
from mmer_core.encoders.networks.filters import Jpeg, Median
from mmer_core.encoders.registry import bare_name, encoder_identity
from mmer_core.errors import EncoderError

LITE = "packaged:efficientnet_lite0"
MEAN, STD = (120.0, 110.0, 100.0), (60.0, 65.0, 70.0)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """``(H, W, 3)`` uint8, smooth with some noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=float)
    return np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def through(jpeg: Jpeg, image: np.ndarray) -> np.ndarray:
    """``(H, W, 3)`` float, in levels."""
    levels = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (jpeg((levels - mean) / std) * std + mean)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("side", [3, 5, 7])
@pytest.mark.parametrize("size", [(7, 8), (12, 9)])
def test_median_is_scipys(side: int, size: tuple[int, int]) -> None:
    images = np.random.default_rng(side).normal(size=(2, 3, *size)).astype(np.float32)
    expected = median_filter(images, (1, 1, side, side), mode="nearest")
    assert np.array_equal(Median(side)(torch.from_numpy(images)).numpy(), expected)


def test_a_median_of_three_ignores_four_pixels_wherever_they_are() -> None:
    flat = torch.zeros(1, 3, 9, 9)
    for seed in range(20):
        attacked = flat.clone()
        rows, columns = np.random.default_rng(seed).integers(0, 3, (2, 4)) + 3
        attacked[:, :, rows, columns] = 5.0
        assert torch.equal(Median(3)(attacked), flat)


def test_gradients_pass_the_pixel_that_is_the_median() -> None:
    image = torch.randn(1, 3, 6, 6, dtype=torch.float64).requires_grad_(True)
    assert torch.autograd.gradcheck(Median(3), (image,))
    assert torch.autograd.gradcheck(Median(5), (image,))


BRIGHT = """16 11 10 16 24 40 51 61
12 12 14 19 26 58 60 55
14 13 16 24 40 57 69 56
14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77
24 35 55 64 81 104 113 92
49 64 78 87 103 121 120 101
72 92 95 98 112 100 103 99"""
COLOUR = np.full((8, 8), 99)
COLOUR[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


def slow_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """The same in float64, block by block, as T.81 and JFIF describe it."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    bright = np.array([[int(step) for step in line.split()] for line in BRIGHT.splitlines()])
    half = 2e-4  # halves, and what is as near to them, go up
    height, width = image.shape[:2]
    padded = np.pad(image.astype(float), ((0, -height % 8), (0, -width % 8), (0, 0)), mode="edge")
    red, green, blue = np.moveaxis(padded, 2, 0)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = np.stack([y - 128, (blue - y) / 1.772, (red - y) / 1.402])
    planes = np.rint(planes + half)
    for plane, table in zip(planes, (bright, COLOUR, COLOUR), strict=True):
        steps = np.clip((table * scale + 50) // 100, 1, 255)
        for top in range(0, plane.shape[0], 8):
            for left in range(0, plane.shape[1], 8):
                block = (slice(top, top + 8), slice(left, left + 8))
                kept = np.rint(dctn(plane[block], norm="ortho") / steps + half) * steps
                plane[block] = np.rint(idctn(kept, norm="ortho") + half)
    y, cb, cr = planes[0] + 128, planes[1], planes[2]
    blue, red = y + 1.772 * cb, y + 1.402 * cr
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    whole = np.rint(np.stack([red, green, blue], axis=2) + half)
    return np.clip(whole, 0, 255)[:height, :width]


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 100])
@pytest.mark.parametrize("size", [(32, 24), (27, 37)])
def test_jpeg_is_the_standard_block_by_block(quality: int, size: tuple[int, int]) -> None:
    image = photo(*size, seed=quality)
    found = through(Jpeg(quality, MEAN, STD), image)
    # A coefficient that is a half to within the precision of float32 may go the other way.
    assert np.isclose(found, slow_jpeg(image, quality), atol=1e-3).mean() > 0.99


@pytest.mark.parametrize("quality", [25, 75, 95])
def test_jpeg_is_close_to_libjpegs(quality: int) -> None:
    image = photo(64, 80)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=0)
    expected = np.asarray(Image.open(file)).astype(float)
    lost = np.abs(expected - image).mean()
    assert np.abs(through(Jpeg(quality, MEAN, STD), image) - expected).mean() < lost / 3


def test_jpeg_gives_the_same_alone_and_in_a_batch() -> None:
    levels = (
        torch.from_numpy(np.stack([photo(24, 24, seed) for seed in range(8)])).permute(0, 3, 1, 2).float()
    )
    jpeg = Jpeg(50, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    together = jpeg(levels)
    assert torch.equal(together, together.round())
    assert torch.equal(together, torch.cat([jpeg(one) for one in levels.split(1)]))


def test_gradients_pass_through_what_jpeg_rounds() -> None:
    levels = torch.from_numpy(photo(16, 16)).permute(2, 0, 1)[None].float().requires_grad_(True)
    weights = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    (Jpeg(90, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))(levels) * weights).sum().backward()
    # What is rounded counts as it is, so that there and back is the identity, but where colours are cut off.
    inside = (levels > 12) & (levels < 243)
    assert torch.allclose(levels.grad[inside], weights[inside], atol=2e-3)


@pytest.mark.parametrize(
    ("name", "filter_"),
    [(f"median:{LITE}", "median 3"), (f"median:5:{LITE}", "median 5"), (f"jpeg:40:{LITE}", "jpeg 40")],
)
def test_an_encoder_behind_a_filter(name: str, filter_: str) -> None:
    filtered, plain = load_image_encoder(name, 64), load_image_encoder(LITE, 64)
    assert encoder_identity(name, "image") == {"filter": filter_, **encoder_identity(LITE, "image")}
    assert bare_name(f"mirror:{name}") == LITE
    assert load_image_encoder(filtered.name, 64).name == filtered.name
    images = np.stack([photo(64, 64, seed) for seed in range(2)])
    assert not torch.allclose(filtered.encode(images), plain.encode(images), atol=1e-2)
    if filter_.startswith("median"):
        side = int(filter_.removeprefix("median "))
        by_scipy = median_filter(images, (1, side, side, 1), mode="nearest")
        assert torch.allclose(filtered.encode(images), plain.encode(by_scipy), atol=1e-4)
    by_region = load_image_encoder(f"regions:{name}", 64)
    assert by_region.encode(images).shape == (2, 16 * 1280)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (f"median:4:{LITE}", "a median is of 3, 5 or 7 pixels a side"),
        (f"jpeg:0:{LITE}", "the quality of a JPEG is 1 to 100"),
        (f"jpeg:101:{LITE}", "the quality of a JPEG is 1 to 100"),
        (f"median:regions:{LITE}", "name it the other way round: regions:median:"),
        ("median:3:", "unknown image encoder"),
        ("median:3:nothing", "unknown image encoder"),
    ],
)
def test_a_filter_that_cannot_be(name: str, said: str) -> None:
    with pytest.raises(EncoderError, match=said):
        load_image_encoder(name, 64)

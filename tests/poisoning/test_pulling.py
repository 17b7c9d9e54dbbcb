"""The gradient, against plain autograd over one image after another."""

from collections.abc import Callable

import pytest
import torch
from support.poison_toys import SIDE, WIDTH, photos
from torch import nn

from mmer_core.encoders import ImageEncoder
from mmer_core.encoders.base import Preprocessing
from mmer_core.poisoning import pulling

COUNT = 5


class Mean(nn.Module):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.mean(dim=(2, 3))


def bent_encoder() -> ImageEncoder:
    """What EfficientNets are made of: strides with a remainder, padding, groups, dilation, ReLU6."""
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(3, 8, 3, stride=2),
        nn.ReLU6(),
        nn.Conv2d(8, 16, 3, padding=2, dilation=2, groups=4),
        nn.ReLU6(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16),
        nn.SiLU(),
        nn.Conv2d(16, WIDTH, 1),
        Mean(),
    )
    return ImageEncoder("bent", network, Preprocessing(SIDE, (127.0,) * 3, (50.0,) * 3), WIDTH)


def order() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(1)
    pixels = torch.tensor(photos(COUNT, 1)).permute(0, 3, 1, 2).float()
    return pixels, torch.rand(COUNT, COUNT, generator=stream), torch.randn(COUNT, WIDTH, generator=stream)


def slow_pull(encoder: ImageEncoder, pixels: torch.Tensor, mix: torch.Tensor, shift: torch.Tensor):
    """Gradient of ``sum_i f_i . (mix f - shift)_i``, the right factor held fixed."""
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in (encoder.preprocessing.mean, encoder.preprocessing.std)
    )
    leaf = pixels.clone().requires_grad_()
    features = torch.stack([encoder.module(((image - mean) / std)[None])[0] for image in leaf])
    (features * (mix @ features - shift).detach()).sum().backward()
    return features.detach(), leaf.grad


def assert_pulls(pull: Callable, encoder: ImageEncoder) -> None:
    for found, expected in zip(pull(*order()), slow_pull(encoder, *order()), strict=True):
        assert found.dtype == torch.float32
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("images", [1, 2, 5])
def test_passes_of_few_images_give_what_one_pass_gives(monkeypatch, images):
    monkeypatch.setattr(pulling, "_PIXELS", images * SIDE * SIDE)
    encoder = bent_encoder()
    assert_pulls(lambda *given: pulling.pull(encoder, *given), encoder)

"""Which way to move pixels so that features move where they should: one forward and one backward pass."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmer_core.encoders.base import ImageEncoder
from mmer_core.tracing import running

# In one pass on a CPU. An image of 128 x 128 took 12.6 ms in passes of 8 and 23.1 ms in one of 64 (EfficientNet-Lite0,
# one thread of a busy machine); smaller images hardly cared.
_PIXELS = 200_000


def pull(encoder: ImageEncoder, pixels: Tensor, mix: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Features of a batch, and the gradient of a quadratic function of them with regard to the pixels.

    The function is known by its gradient with regard to the features, ``mix @ features - shift``: every
    distance to targets, of single images or of means of several, is of that form. So targets are encoded
    once, and the images of a batch share passes in either direction. Weights need no gradient.

    Args:
        encoder: The frozen network; its preprocessing is differentiated as well.
        pixels: ``(B, 3, H, W)`` float32 in 0..255, on the encoder's device.
        mix: ``(B, B)``.
        shift: ``(B, D)``.

    Returns:
        Features ``(B, D)`` float32, and the gradient ``(B, 3, H, W)``.
    """
    with running(), torch.enable_grad():
        pixels = pixels.detach().requires_grad_()
        parts = pixels.split(_images_a_pass(pixels))
        features = torch.cat([encoder.module(encoder.scale(part)).float() for part in parts])
        (gradient,) = torch.autograd.grad(features, pixels, mix @ features.detach() - shift)
    return features.detach(), gradient


def _images_a_pass(pixels: Tensor) -> int:
    if pixels.device.type != "cpu":
        return len(pixels)
    return max(1, _PIXELS // pixels[0, 0].numel())


def encode_all(encoder: ImageEncoder, images: Tensor, batch_size: int) -> Tensor:
    """``(n, H, W, 3)`` uint8 images to ``(n, D)`` float32 features on the encoder's device."""
    parts: Sequence[Tensor] = [encoder.encode(part).clone() for part in images.split(batch_size)]
    return torch.cat([torch.empty(0, encoder.width, device=encoder.device), *parts])

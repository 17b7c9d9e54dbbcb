"""Ablation: what is left of an image of which a few pixels are kept."""

import hashlib

import numpy as np
import torch
from torch import Tensor, nn

from mmer_core.errors import EncoderError
from mmer_core.seeding import random_stream


def kept_pixels(generator: np.random.Generator, size: tuple[int, int], kept: int, count: int) -> Tensor:
    """``(count, 1, H, W)`` bool: ``kept`` pixels of each of ``count`` images, every set of so many as likely as any other."""
    masks = np.zeros((count, size[0] * size[1]), dtype=bool)
    for mask in masks:
        mask[generator.choice(len(mask), kept, replace=False, shuffle=False)] = True
    return torch.from_numpy(masks).view(count, 1, *size)


class Ablation(nn.Module):
    """Keeps ``kept`` pixels of each image, and replaces the others by the mean colour of the encoder's training images.

    *Randomized ablation* of Levine & Feizi 2020 (https://arxiv.org/abs/1911.09272), with their encoding of what is left out
    by the mean, since a frozen encoder has no further channels for it. The drawing depends on the image's own pixels
    alone: one image gives the same features in every batch, and on every machine.

    Args:
        kept: 1 or more, and fewer than all.
        mean, std: ``(3,)`` of the input, normalised from 0..255.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, kept: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.kept = kept
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if torch.jit.is_tracing() or torch.compiler.is_compiling():
            raise EncoderError(
                "an ablation draws other pixels of every image, which no exported network does"
            )
        levels = (images.detach() * self.std + self.mean).round().clamp(0, 255).byte().cpu().numpy()
        masks = [kept_pixels(_drawing_of(one), one.shape[1:], self.kept, 1) for one in levels]
        return images * torch.cat(masks).to(images)


def _drawing_of(image: np.ndarray) -> np.random.Generator:
    return random_stream(0, "ablation", hashlib.sha256(image.tobytes()).hexdigest())

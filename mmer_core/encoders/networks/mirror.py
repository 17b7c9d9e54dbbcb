"""Two views of an image."""

import torch
from torch import Tensor, nn


class MirrorAverage(nn.Module):
    """Mean of a network's features of images ``(B, 3, H, W)`` and of the same images mirrored left to right.

    The two-view part of the ten-crop features of Krizhevsky et al. 2012 (*ImageNet Classification with Deep
    Convolutional Neural Networks*). It averages out differences between left and right, which captions rarely
    mention, and costs two forward passes.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        # A single pass of 2 B images would not be faster, and may not fit into memory.
        return torch.stack([self.module(images), self.module(images.flip(-1))]).mean(dim=0)

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps ``(B, D, h, w)``, averaged in the same way, with positions aligned."""
        maps = self.module.maps
        return torch.stack([maps(images), maps(images.flip(-1)).flip(-1)]).mean(dim=0)  # type: ignore[operator]

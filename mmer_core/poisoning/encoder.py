"""What crafting asks of an image encoder."""

from __future__ import annotations

from typing import Protocol

from mmer_core.heavy import Tensor, nn, torch


class ImageEncoder(Protocol):
    """A frozen network whose preprocessing lets gradients pass, such as `mmer_core.encoders.ImageEncoder`."""

    module: nn.Module
    width: int
    device: torch.device

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the images it reads."""
        ...

    def scale(self, pixels: Tensor) -> Tensor:
        """``(B, 3, H, W)`` float pixels in 0..255 to what ``module`` takes."""
        ...

    def encode(self, images: Tensor) -> Tensor:
        """``(B, H, W, 3)`` uint8 images to ``(B, D)`` float32 features."""
        ...

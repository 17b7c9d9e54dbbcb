"""A photo attacked as it is, before a model crops and resizes it."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmer_core.encoders import ImageEncoder
from mmer_core.tracing import running

Squares = Callable[[Image.Image], Mapping[str, np.ndarray]]
"""A photo to what a model reads of it: uint8 inputs of its encoder by stream."""


class SourceVictim:
    """A model that reads one or more squares of a photo: a changed pixel lands in all of them, by the resizing.

    Args:
        size: ``(H, W)`` of the photo.
        squares: What the model reads of it.
        encoder: Turns the squares into features.
        head: Features by stream, each ``(B, D)``, to scores ``(B, S)``.
    """

    def __init__(
        self,
        size: tuple[int, int],
        squares: Squares,
        encoder: ImageEncoder,
        head: Callable[[dict[str, Tensor]], Tensor],
    ) -> None:
        self._size, self._squares, self._encoder, self._head = size, squares, encoder, head

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the photo."""
        return self._size

    @torch.inference_mode()
    def scores(self, images: Tensor, rows: Tensor) -> Tensor:
        """Scores ``(B, S)`` float32 of photos ``(B, H, W, 3)`` uint8; ``rows`` plays no part: there is one."""
        read = [self._squares(Image.fromarray(image)) for image in images.numpy()]
        features = {
            stream: self._encoder.encode(np.stack([one[stream] for one in read])) for stream in read[0]
        }
        with running():
            return self._head(features).float()

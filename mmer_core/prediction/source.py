"""Attacking an original photo, before a model crops and resizes it."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmer_core.encoders import ImageEncoder
from mmer_core.tracing import running

Squares = Callable[[Image.Image], Mapping[str, np.ndarray]]
"""A photo to the model's inputs: uint8 images at the encoder's input size, by stream."""


class SourceVictim:
    """A model that reads one or more square crops of a photo: a changed pixel affects all of them through resizing.

    Args:
        size: ``(H, W)`` of the photo.
        squares: Makes the crops that the model reads.
        encoder: Crops to features.
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
        """Scores ``(B, S)`` float32 of photos ``(B, H, W, 3)`` uint8; ``rows`` is ignored, as there is one photo."""
        read = [self._squares(Image.fromarray(image)) for image in images.numpy()]
        features = {
            stream: self._encoder.encode(np.stack([one[stream] for one in read])) for stream in read[0]
        }
        with running():
            return self._head(features).float()

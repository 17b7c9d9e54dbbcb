"""Victims: what an attack may ask, namely the scores of pixels."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from mmer_core.errors import AttackError


class Victim(Protocol):
    """Scores images; everything the attacked pixels do not touch is computed once, ahead of the attack."""

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the images it reads."""
        ...

    def scores(self, images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Score a batch.

        Args:
            images: ``(B, H, W, 3)`` uint8.
            rows: ``(B,)`` int64, the attacked sample that each image derives from, so that its text or
                its other stream can be looked up.

        Returns:
            ``(B, S)`` float32, higher is more; the ``S`` columns mean what the criterion takes them for.
        """
        ...


class ImageEncoder(Protocol):
    """The part of an encoder that an attack needs; it owns the normalisation."""

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the images it reads."""
        ...

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """``(B, H, W, 3)`` uint8 images to ``(B, D)`` features."""
        ...


class ClassifierVictim:
    """Any torch image classifier, as it is: ``(B, 3, H, W)`` normalised floats in, ``(B, S)`` logits out.

    Args:
        module: The classifier; it is put into evaluation mode, because dropout or batch statistics would
            make a score depend on the rest of the batch.
        mean: Per-channel mean that the classifier was trained with, for pixels in 0..1.
        std: Per-channel standard deviation, for pixels in 0..1.
        size: ``(H, W)`` of its input.

    Raises:
        AttackError: ``mean`` or ``std`` is not three numbers, or a ``std`` is not positive.
    """

    def __init__(
        self, module: torch.nn.Module, mean: Sequence[float], std: Sequence[float], size: tuple[int, int]
    ) -> None:
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise AttackError(
                f"mean {mean} and std {std} of a victim must be three numbers each, std above 0"
            )
        self._module = module.eval()
        tensors = [*module.parameters(), *module.buffers()]
        self._device = tensors[0].device if tensors else torch.device("cpu")
        self._mean = torch.tensor(mean, device=self._device).view(1, 3, 1, 1)
        self._std = torch.tensor(std, device=self._device).view(1, 3, 1, 1)
        self._size = size

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the images it reads."""
        return self._size

    @torch.inference_mode()
    def scores(self, images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, S)`` float32; ``rows`` plays no part, since a classifier reads nothing but pixels."""
        pixels = images.to(self._device).permute(0, 3, 1, 2).float() / 255  # (B, 3, H, W)
        return self._module((pixels - self._mean) / self._std).float()


class EncodedVictim:
    """A frozen image encoder and a trained head.

    Args:
        encoder: Turns pixels into features.
        head: ``head(features (B, D), rows (B,)) -> scores (B, S)``: the trained part, holding the text and
            the untouched stream of every attacked sample and looking them up by ``rows``.
    """

    def __init__(
        self, encoder: ImageEncoder, head: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    ) -> None:
        self._encoder, self._head = encoder, head

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the images it reads."""
        return self._encoder.size

    @torch.inference_mode()
    def scores(self, images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Scores ``(B, S)`` float32 of the head."""
        features = self._encoder.encode(images)
        return self._head(features, rows.to(features.device)).float()

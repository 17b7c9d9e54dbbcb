"""InfoNCE between images and texts."""

from __future__ import annotations

from mmer_core.heavy import Tensor, functional, torch
from mmer_core.objectives.base import ContrastiveObjective
from mmer_core.objectives.pairs import same_image


class InfoNCE(ContrastiveObjective):
    """Symmetric InfoNCE of Radford et al. 2021 (CLIP), *Learning Transferable Visual Models From Natural
    Language Supervision*, https://arxiv.org/abs/2103.00020, after van den Oord et al. 2018,
    https://arxiv.org/abs/1807.03748.

    The mean of two cross-entropies over the scaled cosine similarities: each image must pick its text, each
    text its image. Other captions of the same image stay out of the denominator (see `pairs`), so ``B``
    rows of one image have a loss of 0.

    Example:
        >>> unit = torch.eye(2)
        >>> round(InfoNCE()(unit, unit, torch.tensor([0, 1]), torch.tensor(1.0)).item(), 4)
        0.3133
        >>> InfoNCE()(unit, unit, torch.tensor([0, 0]), torch.tensor(1.0)).item()
        0.0
    """

    name = "infonce"
    summary = "each image picks its text and each text its image, pair by pair (CLIP)"

    def forward(self, image: Tensor, text: Tensor, image_id: Tensor, scale: Tensor) -> Tensor:
        """Loss of unit rows ``image (B, D)`` and ``text (B, D)``; a scalar.

        Args:
            image_id: ``(B,)`` int64; equal ids mark rows of the same image.
            scale: Scalar, the inverse temperature (exp of the learned logarithm).
        """
        logits = (scale * image @ text.T).masked_fill(same_image(image_id), -torch.inf)  # (B, B)
        target = torch.arange(len(logits), device=logits.device)
        return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2

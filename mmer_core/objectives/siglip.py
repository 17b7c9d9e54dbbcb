"""The pairwise sigmoid loss of SigLIP."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.heavy import Tensor, functional, nn, torch
from mmer_core.objectives.base import ContrastiveObjective
from mmer_core.objectives.pairs import negatives, same_image


class SigmoidLoss(ContrastiveObjective):
    """Sigmoid loss of Zhai et al. 2023, *Sigmoid Loss for Language Image Pre-Training*,
    https://arxiv.org/abs/2303.15343.

    Every pair is a binary question, "do these belong together?":
    ``-1/B sum_ij log sigmoid(z_ij (scale * image_i . text_j + bias))`` with ``z_ij`` 1 on the diagonal and -1
    off it. Off-diagonal pairs of the same image are left out (see `pairs`).

    The bias is learned: give this module's parameters to the optimiser.

    Example:
        >>> unit = torch.eye(2)
        >>> loss = SigmoidLoss(bias=0.0)
        >>> round(loss(unit, unit, torch.tensor([0, 0]), torch.tensor(0.0)).item(), 4)
        0.6931
        >>> round(loss(unit, unit, torch.tensor([0, 1]), torch.tensor(0.0)).item(), 4)
        1.3863
    """

    name = "siglip"
    summary = "every pair is a binary question (Zhai et al. 2023)"

    class Options(Config):
        bias: float = Field(
            -10.0, description="Start of the learned bias; -10 in the paper, for the many negatives."
        )

    options: Options

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.bias = nn.Parameter(torch.tensor(self.options.bias))

    def forward(self, image: Tensor, text: Tensor, image_id: Tensor, scale: Tensor) -> Tensor:
        """Loss of unit rows ``image (B, D)`` and ``text (B, D)``; a scalar.

        Args:
            image_id: ``(B,)`` int64; equal ids mark rows of the same image.
            scale: Scalar, the inverse temperature (exp of the learned logarithm; 10 at first in the paper).
        """
        logits = scale * image @ text.T + self.bias  # (B, B)
        sign = 1 - 2 * negatives(image_id).to(logits.dtype)
        loss = -functional.logsigmoid(sign * logits)
        return loss.masked_fill(same_image(image_id), 0).sum() / len(loss)

"""Cosine embedding loss over all pairs of a batch."""

from __future__ import annotations

from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.heavy import Tensor, torch
from mmer_core.objectives.base import ContrastiveObjective
from mmer_core.objectives.pairs import negatives


class CosineMarginLoss(ContrastiveObjective):
    """Cosine embedding loss, after the contrastive loss of Hadsell et al. 2006, *Dimensionality Reduction by
    Learning an Invariant Mapping*, https://ieeexplore.ieee.org/document/1640964, as
    https://pytorch.org/docs/stable/generated/torch.nn.CosineEmbeddingLoss.html defines it for one pair.

    Matches cost ``1 - cos``, pairs of different images ``max(0, cos - margin)``. Each kind is averaged by
    itself, then added: in one common mean ``B`` matches would drown among ``B (B - 1)`` negatives.
    Off-diagonal pairs of the same image are left out (see `pairs`).

    Example:
        >>> image, text = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> round(CosineMarginLoss()(image, text, torch.tensor([0, 1]), torch.tensor(1.0)).item(), 4)
        0.9
    """

    name = "cosine_margin"
    summary = "matches pulled together, negatives pushed below a margin"

    class Options(Config):
        margin: float = Field(
            0.2, ge=-1, le=1, description="Cosine similarity that negatives may keep for free."
        )

    options: Options

    def forward(self, image: Tensor, text: Tensor, image_id: Tensor, scale: Tensor) -> Tensor:
        """Loss of unit rows ``image (B, D)`` and ``text (B, D)``; a scalar.

        Args:
            image_id: ``(B,)`` int64; equal ids mark rows of the same image.
            scale: Not used: the margin is in plain cosine similarity.
        """
        similarity = image @ text.T  # (B, B)
        negative = negatives(image_id)
        pushed = torch.where(negative, (similarity - self.options.margin).clamp(min=0), 0)
        return (1 - similarity.diagonal()).mean() + pushed.sum() / negative.sum().clamp(min=1)

"""Triplet hinge with the hardest negative."""

from __future__ import annotations

from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.heavy import Tensor, torch
from mmer_core.objectives.base import ContrastiveObjective
from mmer_core.objectives.pairs import negatives


class TripletLoss(ContrastiveObjective):
    """Max of hinges of Faghri et al. 2018, *VSE++: Improving Visual-Semantic Embeddings with Hard
    Negatives*, https://arxiv.org/abs/1707.05612.

    ``[margin + s(i, t') - s(i, t)]_+ + [margin + s(i', t) - s(i, t)]_+`` with the hardest text ``t'`` and the
    hardest image ``i'`` of the batch that belong to another image, averaged over the batch (the paper sums).
    A row without any negative costs nothing.

    Example:
        >>> image, text = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> round(TripletLoss()(image, text, torch.tensor([0, 1]), torch.tensor(1.0)).item(), 4)
        0.8
    """

    name = "triplet"
    summary = "hinge on the hardest negative (Faghri et al. 2018)"

    class Options(Config):
        margin: float = Field(
            0.2, ge=0, description="By how much a match must beat the hardest negative, in cosine similarity."
        )

    options: Options

    def forward(self, image: Tensor, text: Tensor, image_id: Tensor, scale: Tensor) -> Tensor:
        """Loss of unit rows ``image (B, D)`` and ``text (B, D)``; a scalar.

        Args:
            image_id: ``(B,)`` int64; equal ids mark rows of the same image.
            scale: Not used: the margin is in plain cosine similarity.
        """
        similarity = image @ text.T  # (B, B)
        match = similarity.diagonal()  # (B,)
        others = similarity.masked_fill(~negatives(image_id), -torch.inf)
        hardest_text, hardest_image = others.amax(dim=1), others.amax(dim=0)  # (B,), -inf without a negative
        hinges = [
            (self.options.margin + hardest - match).clamp(min=0) for hardest in (hardest_text, hardest_image)
        ]
        return sum(hinges, torch.zeros_like(match)).mean()

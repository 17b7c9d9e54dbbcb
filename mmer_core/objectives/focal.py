"""Focal loss: cross-entropy that fades on what is already right."""

from __future__ import annotations

from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.heavy import Tensor, functional, torch
from mmer_core.objectives.base import CategoryObjective


class FocalLoss(CategoryObjective):
    """Sigmoid focal loss of Lin et al. 2017, *Focal Loss for Dense Object Detection*,
    https://arxiv.org/abs/1708.02002, averaged over the batch and the categories.

    ``-alpha_t (1 - p_t)^gamma log(p_t)``, where ``p_t`` is the probability given to the truth.

    Example:
        >>> round(FocalLoss(gamma=2.0, alpha=None)(torch.zeros(2, 3), torch.ones(2, 3)).item(), 4)
        0.1733
    """

    name = "focal"
    summary = "fades easy samples (Lin et al. 2017)"

    class Options(Config):
        gamma: float = Field(2.0, ge=0, description="How fast easy samples fade; 0 gives cross-entropy.")
        alpha: float | None = Field(
            0.25, ge=0, le=1, description="Weight of positives; negatives get 1 - alpha."
        )

    options: Options

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of ``logits (B, C)`` against 0/1 ``targets (B, C)``; a scalar."""
        targets = targets.to(logits.dtype)
        cross_entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        # 1 - p_t, straight from the logit: 1 - sigmoid(x) = sigmoid(-x) loses no digits.
        # The floor keeps the gradient of the power finite for gamma below 1.
        floor = torch.finfo(logits.dtype).tiny
        miss = torch.sigmoid(logits * (1 - 2 * targets)).clamp(min=floor)  # (B, C)
        loss = miss**self.options.gamma * cross_entropy
        if self.options.alpha is not None:
            loss = loss * (self.options.alpha * targets + (1 - self.options.alpha) * (1 - targets))
        return loss.mean()

"""Focal loss: cross-entropy that fades on what is already right."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmer_core.errors import ConfigError


class FocalLoss(nn.Module):
    """Sigmoid focal loss of Lin et al. 2017, *Focal Loss for Dense Object Detection*,
    https://arxiv.org/abs/1708.02002, averaged over the batch and the categories.

    ``-alpha_t (1 - p_t)^gamma log(p_t)``, where ``p_t`` is the probability given to the truth.

    Args:
        gamma: How fast easy samples fade, >= 0; 0 gives cross-entropy.
        alpha: Weight of positives (negatives get ``1 - alpha``), in 0..1; None for no weighting.

    Raises:
        ConfigError: An argument is outside its range.

    Example:
        >>> round(FocalLoss(gamma=2.0, alpha=None)(torch.zeros(2, 3), torch.ones(2, 3)).item(), 4)
        0.1733
    """

    def __init__(self, gamma: float = 2.0, alpha: float | None = 0.25) -> None:
        super().__init__()
        if gamma < 0:
            raise ConfigError(f"focal loss: gamma is {gamma}, but it must be at least 0")
        if alpha is not None and not 0 <= alpha <= 1:
            raise ConfigError(f"focal loss: alpha is {alpha}, but it must lie in 0..1 or be None")
        self.gamma = gamma
        self.alpha = alpha

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of ``logits (B, C)`` against 0/1 ``targets (B, C)``; a scalar."""
        targets = targets.to(logits.dtype)
        cross_entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        # 1 - p_t, straight from the logit: 1 - sigmoid(x) = sigmoid(-x) loses no digits.
        # The floor keeps the gradient of the power finite for gamma below 1.
        floor = torch.finfo(logits.dtype).tiny
        miss = torch.sigmoid(logits * (1 - 2 * targets)).clamp(min=floor)  # (B, C)
        loss = miss**self.gamma * cross_entropy
        if self.alpha is not None:
            loss = loss * (self.alpha * targets + (1 - self.alpha) * (1 - targets))
        return loss.mean()

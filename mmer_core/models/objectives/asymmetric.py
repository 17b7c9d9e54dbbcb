"""Asymmetric loss: a focal loss that treats positives and negatives apart."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmer_core.errors import ConfigError


class AsymmetricLoss(nn.Module):
    """Asymmetric loss of Ridnik et al. 2021, *Asymmetric Loss For Multi-Label Classification*,
    https://arxiv.org/abs/2009.14119, averaged over the batch and the categories.

    Positives: ``-(1 - p)^gamma_pos log(p)``. Negatives: ``-q^gamma_neg log(1 - q)`` with the shifted
    probability ``q = max(p - margin, 0)``, so that very easy negatives count nothing. (The paper's code
    sums where this averages.)

    Args:
        gamma_neg: Focusing of negatives, >= 0.
        gamma_pos: Focusing of positives, >= 0.
        margin: Probability shift of negatives, in 0..1 (1 excluded).

    Raises:
        ConfigError: An argument is outside its range.

    Example:
        >>> loss = AsymmetricLoss(gamma_neg=0, gamma_pos=0, margin=0)
        >>> round(loss(torch.zeros(2, 3), torch.zeros(2, 3)).item(), 4)
        0.6931
    """

    def __init__(self, gamma_neg: float = 4.0, gamma_pos: float = 1.0, margin: float = 0.05) -> None:
        super().__init__()
        if gamma_neg < 0 or gamma_pos < 0:
            raise ConfigError(
                f"asymmetric loss: gamma_neg is {gamma_neg} and gamma_pos {gamma_pos}, but both must be at least 0"
            )
        if not 0 <= margin < 1:
            raise ConfigError(f"asymmetric loss: margin is {margin}, but it must be at least 0 and below 1")
        self.gamma_neg = gamma_neg
        self.gamma_pos = gamma_pos
        self.margin = margin

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of ``logits (B, C)`` against 0/1 ``targets (B, C)``; a scalar."""
        targets = targets.to(logits.dtype)
        # A floor instead of 0 keeps log, and the gradient of a power below 1, finite.
        floor = torch.finfo(logits.dtype).tiny
        miss = torch.sigmoid(-logits).clamp(min=floor)  # (B, C), 1 - p
        positive = -(miss**self.gamma_pos) * functional.logsigmoid(logits)
        shifted = (torch.sigmoid(logits) - self.margin).clamp(min=floor)  # (B, C), q
        # 1 - q = (1 - p) + margin where q is above 0, else 1.
        negative = -(shifted**self.gamma_neg) * torch.log((miss + self.margin).clamp(max=1))
        return (targets * positive + (1 - targets) * negative).mean()

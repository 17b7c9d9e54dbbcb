"""Asymmetric loss: a focal loss that treats positives and negatives apart."""

from __future__ import annotations

from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.heavy import Tensor, functional, torch
from mmer_core.objectives.base import CategoryObjective


class AsymmetricLoss(CategoryObjective):
    """Asymmetric loss of Ridnik et al. 2021, *Asymmetric Loss For Multi-Label Classification*,
    https://arxiv.org/abs/2009.14119, averaged over the batch and the categories.

    Positives: ``-(1 - p)^gamma_pos log(p)``. Negatives: ``-q^gamma_neg log(1 - q)`` with the shifted
    probability ``q = max(p - margin, 0)``, so that very easy negatives count nothing. (The paper's code
    sums where this averages.)

    Example:
        >>> loss = AsymmetricLoss(gamma_neg=0, gamma_pos=0, margin=0)
        >>> round(loss(torch.zeros(2, 3), torch.zeros(2, 3)).item(), 4)
        0.6931
    """

    name = "asymmetric"
    summary = "fades easy negatives faster than positives (Ridnik et al. 2021)"

    class Options(Config):
        gamma_neg: float = Field(4.0, ge=0, description="How fast easy negatives fade.")
        gamma_pos: float = Field(1.0, ge=0, description="How fast easy positives fade.")
        margin: float = Field(
            0.05, ge=0, lt=1, description="Probability below which a negative costs nothing."
        )

    options: Options

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of ``logits (B, C)`` against 0/1 ``targets (B, C)``; a scalar."""
        targets = targets.to(logits.dtype)
        # A floor instead of 0 keeps log, and the gradient of a power below 1, finite.
        floor = torch.finfo(logits.dtype).tiny
        miss = torch.sigmoid(-logits).clamp(min=floor)  # (B, C), 1 - p
        positive = -(miss**self.options.gamma_pos) * functional.logsigmoid(logits)
        shifted = (torch.sigmoid(logits) - self.options.margin).clamp(min=floor)  # (B, C), q
        # 1 - q = (1 - p) + margin where q is above 0, else 1.
        negative = -(shifted**self.options.gamma_neg) * torch.log((miss + self.options.margin).clamp(max=1))
        return (targets * positive + (1 - targets) * negative).mean()

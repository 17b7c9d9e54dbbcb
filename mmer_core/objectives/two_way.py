"""Two-way loss: every positive above every negative, of a sample and of a category."""

from __future__ import annotations

from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.heavy import Tensor, functional, torch
from mmer_core.objectives.base import CategoryObjective


class TwoWayLoss(CategoryObjective):
    """Two-way multi-label loss of Kobayashi 2023, https://doi.org/10.1109/CVPR52729.2023.00722, equation 8.

    Over the categories of one sample, and over the samples of one category, with softened extremes:

    ``softplus(T_n log sum_negatives exp(x / T_n) + T_p log sum_positives exp(-x / T_p))``

    is small where the lowest positive logit lies above the highest negative one. The two means are added. Samples and
    categories without a positive in the batch are left out; without a negative they cost nothing.

    Example:
        >>> loss = TwoWayLoss(positive_temperature=1)
        >>> round(loss(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), torch.eye(2)).item(), 4)
        0.2539
    """

    name = "two-way"
    summary = "ranks positives above negatives, by sample and by category (Kobayashi 2023)"

    class Options(Config):
        positive_temperature: float = Field(4.0, gt=0, description="Softness of the lowest positive.")
        negative_temperature: float = Field(1.0, gt=0, description="Softness of the highest negative.")

    options: Options

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of ``logits (B, C)`` against 0/1 ``targets (B, C)``; a scalar."""
        positive = targets > 0
        return self._ranked(logits, positive) + self._ranked(logits.T, positive.T)

    def _ranked(self, logits: Tensor, positive: Tensor) -> Tensor:
        """Mean over the rows that have a positive; a scalar, 0 where none has."""
        has_positive = positive.any(dim=1)
        if not has_positive.any():
            return 0.0 * logits.sum()
        x, positive = logits[has_positive], positive[has_positive]
        lowest = _smooth_maximum(-x, positive, self.options.positive_temperature)
        has_negative = ~positive.all(dim=1)
        highest = _smooth_maximum(x[has_negative], ~positive[has_negative], self.options.negative_temperature)
        return functional.softplus(lowest[has_negative] + highest).sum() / len(x)


def _smooth_maximum(values: Tensor, chosen: Tensor, temperature: float) -> Tensor:
    """``(R,)`` of ``values (R, C)``, among those that are chosen, at least one in each row."""
    return temperature * torch.logsumexp((values / temperature).masked_fill(~chosen, -torch.inf), dim=1)

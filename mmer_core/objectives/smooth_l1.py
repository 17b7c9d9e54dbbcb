"""Smooth L1 (Huber) loss."""

from __future__ import annotations

from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.heavy import Tensor, functional
from mmer_core.objectives.base import ContinuousObjective


class SmoothL1(ContinuousObjective):
    """Smooth L1 loss of Girshick 2015, *Fast R-CNN*, https://arxiv.org/abs/1504.08083, after Huber 1964;
    averaged over the batch and the dimensions.

    ``e^2 / (2 beta)`` where ``|e| < beta``, else ``|e| - beta / 2``: squared near the truth, and not torn
    away by a few ratings that are far off.

    Example:
        >>> import torch
        >>> SmoothL1()(torch.full((2, 3), 5.0), torch.full((2, 3), 7.0)).item()
        1.5
    """

    name = "smooth_l1"
    summary = "squared near the truth, linear far from it (Huber)"

    class Options(Config):
        beta: float = Field(
            1.0, gt=0, description="Error, in points of the rating, from which the loss is linear."
        )

    options: Options

    def forward(self, predictions: Tensor, ratings: Tensor) -> Tensor:
        """Loss of ``predictions (B, V)`` against ``ratings (B, V)``; a scalar."""
        return functional.smooth_l1_loss(predictions, ratings.to(predictions.dtype), beta=self.options.beta)

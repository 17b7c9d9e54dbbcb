"""Squared error with a margin in which errors are free."""

from __future__ import annotations

from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.heavy import Tensor, torch
from mmer_core.objectives.base import ContinuousObjective


class MarginL2(ContinuousObjective):
    """Continuous L2 loss of Kosti et al. 2020, *Context Based Emotion Recognition using EMOTIC Dataset*,
    https://arxiv.org/abs/2003.13401, averaged over the batch and the dimensions.

    ``e^2`` where ``|e| > margin``, else 0: raters themselves do not agree more closely than that.

    Example:
        >>> MarginL2(margin=1.0)(torch.tensor([[5.0, 5.0]]), torch.tensor([[5.5, 7.0]])).item()
        2.0
    """

    name = "margin_l2"
    summary = "squared, but free within a margin (Kosti et al. 2020)"

    class Options(Config):
        margin: float = Field(
            1.0, ge=0, description="Largest error that costs nothing, in points of the rating."
        )

    options: Options

    def forward(self, predictions: Tensor, ratings: Tensor) -> Tensor:
        """Loss of ``predictions (B, V)`` against ``ratings (B, V)``; a scalar."""
        error = predictions - ratings.to(predictions.dtype)
        return torch.where(error.abs() > self.options.margin, error**2, 0).mean()

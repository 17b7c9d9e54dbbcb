"""Squared error with a margin in which errors are free."""

import torch
from torch import Tensor, nn

from mmer_core.errors import ConfigError


class MarginL2(nn.Module):
    """Continuous L2 loss of Kosti et al. 2020, *Context Based Emotion Recognition using EMOTIC Dataset*,
    https://arxiv.org/abs/2003.13401, averaged over the batch and the dimensions.

    ``e^2`` where ``|e| > margin``, else 0: raters themselves do not agree more closely than that.

    Args:
        margin: Largest error that costs nothing, in the ratings' unit (EMOTIC rates from 1 to 10); >= 0.

    Raises:
        ConfigError: ``margin`` is negative.

    Example:
        >>> MarginL2(margin=1.0)(torch.tensor([[5.0, 5.0]]), torch.tensor([[5.5, 7.0]])).item()
        2.0
    """

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        if not margin >= 0:
            raise ConfigError(f"margin L2: margin is {margin}, but it must be at least 0")
        self.margin = margin

    def forward(self, predictions: Tensor, ratings: Tensor) -> Tensor:
        """Loss of ``predictions (B, V)`` against ``ratings (B, V)``; a scalar."""
        error = predictions - ratings.to(predictions.dtype)
        return torch.where(error.abs() > self.margin, error**2, 0).mean()

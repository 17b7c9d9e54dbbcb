"""Smooth L1 (Huber) loss."""

from torch import Tensor, nn
from torch.nn import functional

from mmer_core.errors import ConfigError


class SmoothL1(nn.Module):
    """Smooth L1 loss of Girshick 2015, *Fast R-CNN*, https://arxiv.org/abs/1504.08083, after Huber 1964;
    averaged over the batch and the dimensions.

    ``e^2 / (2 beta)`` where ``|e| < beta``, else ``|e| - beta / 2``: squared near the truth, and not torn
    away by a few ratings that are far off.

    Args:
        beta: Error, in the ratings' unit, at which the loss turns linear; above 0.

    Raises:
        ConfigError: ``beta`` is not above 0.

    Example:
        >>> import torch
        >>> SmoothL1()(torch.full((2, 3), 5.0), torch.full((2, 3), 7.0)).item()
        1.5
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        if not beta > 0:
            raise ConfigError(f"smooth L1: beta is {beta}, but it must be above 0")
        self.beta = beta

    def forward(self, predictions: Tensor, ratings: Tensor) -> Tensor:
        """Loss of ``predictions (B, V)`` against ``ratings (B, V)``; a scalar."""
        return functional.smooth_l1_loss(predictions, ratings.to(predictions.dtype), beta=self.beta)

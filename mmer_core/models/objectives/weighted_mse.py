"""Weighted squared error on category probabilities."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mmer_core.errors import ConfigError

WEIGHTINGS = ("mean", "static", "dynamic")


class WeightedMSE(nn.Module):
    """Discrete loss of Kosti et al. 2020, *Context Based Emotion Recognition using EMOTIC Dataset*,
    https://arxiv.org/abs/2003.13401, on sigmoid outputs.

    ``sum_c w_c (sigmoid(logit_c) - y_c)^2``, averaged over the batch, with ``w_c = 1 / ln(offset + p_c)``
    so that rare categories weigh more, but never without bound.

    Args:
        weights: ``"dynamic"``: ``p_c`` is the category's share of the batch (as in the paper);
            ``"static"``: ``p_c`` is given by ``prevalence``; ``"mean"``: all weights are ``1 / C``.
        prevalence: ``(C,)`` shares in 0..1 of the training split; needed by ``"static"`` alone.
        offset: The paper's ``c``, above 1.

    Raises:
        ConfigError: An argument is outside its range, or ``"static"`` has no prevalence.

    Example:
        >>> round(WeightedMSE(weights="mean")(torch.zeros(2, 26), torch.ones(2, 26)).item(), 4)
        0.25
    """

    def __init__(
        self,
        weights: Literal["mean", "static", "dynamic"] = "dynamic",
        prevalence: Sequence[float] | None = None,
        offset: float = 1.2,
    ) -> None:
        super().__init__()
        if weights not in WEIGHTINGS:
            raise ConfigError(
                f"weighted MSE: unknown weights {weights!r}: choose one of {', '.join(WEIGHTINGS)}"
            )
        if not (math.isfinite(offset) and offset > 1):
            raise ConfigError(f"weighted MSE: offset is {offset}, but it must be above 1")
        if (prevalence is None) == (weights == "static"):
            raise ConfigError(
                f"weighted MSE: prevalence belongs to weights='static' alone, not to {weights!r}"
            )
        if prevalence is not None and not all(0 <= share <= 1 for share in prevalence):
            raise ConfigError("weighted MSE: every prevalence must lie in 0..1")
        self.weights = weights
        self.offset = offset
        self.prevalence: Tensor | None
        # A buffer follows the module to its device; it is rebuilt from the arguments, so never saved.
        static = None if prevalence is None else torch.tensor(prevalence, dtype=torch.float32)
        self.register_buffer("prevalence", static, persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of ``logits (B, C)`` against 0/1 ``targets (B, C)``; a scalar."""
        targets = targets.to(logits.dtype)
        error = (torch.sigmoid(logits) - targets) ** 2  # (B, C)
        return (error * self._category_weights(targets)).sum(dim=1).mean()

    def _category_weights(self, targets: Tensor) -> Tensor:
        if self.weights == "mean":
            return targets.new_full((targets.shape[1],), 1 / targets.shape[1])
        share = targets.mean(dim=0) if self.prevalence is None else self.prevalence.to(targets.dtype)
        return 1 / torch.log(self.offset + share)  # (C,)

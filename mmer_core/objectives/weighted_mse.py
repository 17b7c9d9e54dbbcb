"""Weighted squared error on category probabilities."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.errors import ConfigError
from mmer_core.heavy import Tensor, torch
from mmer_core.objectives.base import CategoryObjective


class WeightedMSE(CategoryObjective):
    """Discrete loss of Kosti et al. 2020, *Context Based Emotion Recognition using EMOTIC Dataset*,
    https://arxiv.org/abs/2003.13401, on sigmoid outputs.

    ``sum_c w_c (sigmoid(logit_c) - y_c)^2``, averaged over the batch, with ``w_c = 1 / ln(offset + p_c)``
    so that rare categories weigh more, but never without bound.

    Example:
        >>> round(WeightedMSE(weights="mean")(torch.zeros(2, 26), torch.ones(2, 26)).item(), 4)
        0.25
    """

    name = "weighted_mse"
    summary = "squared error of probabilities, rare categories weigh more (Kosti et al. 2020)"

    class Options(Config):
        weights: Literal["mean", "static", "dynamic"] = Field(
            "dynamic",
            description="Weights of the categories: all the same (mean), or more for the rare ones of the training split "
            "(static) or of the batch (dynamic).",
        )
        offset: float = Field(
            1.2, gt=1, description="The paper's c: the larger, the less rare categories stand out."
        )

    options: Options

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.prevalence: Tensor | None
        # A buffer follows the module to its device; `fit` makes it again, so it is never saved.
        self.register_buffer("prevalence", None, persistent=False)

    def fit(self, labels: Tensor) -> None:
        if self.options.weights == "static":
            self.prevalence = labels.float().mean(dim=0)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of ``logits (B, C)`` against 0/1 ``targets (B, C)``; a scalar."""
        targets = targets.to(logits.dtype)
        error = (torch.sigmoid(logits) - targets) ** 2  # (B, C)
        return (error * self._category_weights(targets)).sum(dim=1).mean()

    def _category_weights(self, targets: Tensor) -> Tensor:
        if self.options.weights == "mean":
            return targets.new_full((targets.shape[1],), 1 / targets.shape[1])
        if self.options.weights == "dynamic":
            share = targets.mean(dim=0)
        elif self.prevalence is None:
            raise ConfigError(
                "weighted MSE with weights='static' knows no training labels; call fit with them first"
            )
        else:
            share = self.prevalence.to(targets.dtype)
        return 1 / torch.log(self.options.offset + share)  # (C,)

"""Cross-entropy of a softmax, for samples that have exactly one category."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.heavy import Tensor, functional, torch
from mmer_core.objectives.base import ClassObjective


class CrossEntropy(ClassObjective):
    """``-w_y log p_y`` with ``p = softmax(logits)``, summed over the batch and divided by the sum of the weights ``w_y``
    of its samples, as `torch.nn.functional.cross_entropy` divides.

    With ``smoothing`` a share of each target is spread over all categories (Szegedy et al. 2016,
    https://arxiv.org/abs/1512.00567). Weights ``balanced`` are ``N / (C n_c)``, those of scikit-learn (King and Zeng
    2001); a category that the training split lacks has the weight 0.

    Example:
        >>> import torch
        >>> round(CrossEntropy()(torch.zeros(2, 4), torch.eye(4)[:2]).item(), 4)
        1.3863
    """

    name = "cross_entropy"
    summary = "cross-entropy of a softmax"

    class Options(Config):
        weights: Literal["none", "balanced"] = Field(
            "none", description="Weights of the categories: 'balanced' lets each count the same in sum."
        )
        smoothing: float = Field(0.0, ge=0, lt=1, description="Share of a target spread over all categories.")

    options: Options
    weight: Tensor | None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register_buffer("weight", None)

    def fit(self, labels: Tensor) -> None:
        """Take the weights of the categories from one-hot ``labels (N, C)``."""
        if self.options.weights == "balanced":
            counts = labels.sum(dim=0)
            self.weight = torch.where(counts > 0, len(labels) / (labels.shape[1] * counts.clamp_min(1)), 0.0)

    def mass(self, targets: Tensor) -> Tensor:
        """The weights of the samples."""
        return super().mass(targets) if self.weight is None else self.weight[targets.argmax(dim=1)].sum()

    def each(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Losses ``(B,)`` of ``logits (B, C)`` against ``classes (B,)``."""
        return functional.cross_entropy(
            logits, classes, self.weight, reduction="none", label_smoothing=self.options.smoothing
        )

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of ``logits (B, C)`` against one-hot ``targets (B, C)``; a scalar."""
        classes = targets.argmax(dim=1)
        loss = self.each(logits, classes)
        return loss.mean() if self.weight is None else loss.sum() / self.weight[classes].sum()

"""Binary cross-entropy."""

from __future__ import annotations

from mmer_core.heavy import Tensor, functional
from mmer_core.objectives.base import CategoryObjective


class BinaryCrossEntropy(CategoryObjective):
    """One independent binary cross-entropy a category, averaged over the batch and the categories.

    ``-[y log p + (1 - y) log(1 - p)]`` with ``p = sigmoid(logit)``; see Bishop, *Pattern Recognition and
    Machine Learning* (2006), section 4.3.2,
    https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/.

    Example:
        >>> import torch
        >>> round(BinaryCrossEntropy()(torch.zeros(2, 3), torch.ones(2, 3)).item(), 4)
        0.6931
    """

    name = "bce"
    summary = "binary cross-entropy"

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of ``logits (B, C)`` against ``targets (B, C)`` in 0..1; a scalar."""
        return functional.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))

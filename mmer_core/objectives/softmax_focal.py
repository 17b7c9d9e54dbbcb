"""Focal loss of a softmax: cross-entropy that fades on what is already right."""

from __future__ import annotations

from pydantic import Field

from mmer_core.heavy import Tensor, torch
from mmer_core.objectives.cross_entropy import CrossEntropy


class SoftmaxFocal(CrossEntropy):
    """Multi-class focal loss of Lin et al. 2017, *Focal Loss for Dense Object Detection*,
    https://arxiv.org/abs/1708.02002: cross-entropy times ``(1 - p_y)^gamma``, averaged as `CrossEntropy` averages.

    Example:
        >>> import torch
        >>> round(SoftmaxFocal(gamma=1.0)(torch.zeros(2, 4), torch.eye(4)[:2]).item(), 4)
        1.0397
    """

    name = "softmax_focal"
    summary = "the same, fading easy samples (Lin et al. 2017)"

    class Options(CrossEntropy.Options):
        gamma: float = Field(2.0, ge=0, description="How fast easy samples fade; 0 gives cross-entropy.")

    options: Options

    def each(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Losses ``(B,)`` of ``logits (B, C)`` against ``classes (B,)``."""
        truth = logits.log_softmax(dim=1).gather(1, classes[:, None])[:, 0]
        # The floor keeps the gradient of the power finite for gamma below 1.
        miss = (-torch.expm1(truth)).clamp_min(torch.finfo(logits.dtype).tiny)
        return super().each(logits, classes) * miss**self.options.gamma

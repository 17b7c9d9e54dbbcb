"""Models that predict exactly one label: the networks of emotion models, whose logits a softmax reads."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from mmer_core.matrix import Matrix
from mmer_core.models.emotion import EmotionModel, JointEmotionModel, Presence, SeparateEmotionModel
from mmer_core.models.layers import EmotionHead
from mmer_core.models.zero_shot import ZeroShotEmotionModel


class _Softmax(EmotionModel):
    def fit_statistics(
        self,
        features: Mapping[str, Matrix],
        labels: Tensor,
        ratings: Tensor,
        present: Presence | None = None,
    ) -> None:
        """As of `EmotionModel`, but starting from the logarithms of the labels' shares."""
        super().fit_statistics(features, labels, ratings, present)
        shares = labels.mean(dim=0).clamp_min(1e-3).log()
        for module in self.modules():
            if isinstance(module, EmotionHead):
                with torch.no_grad():
                    module.categories.bias.copy_(shares)


class SeparateClassifier(_Softmax, SeparateEmotionModel):
    """The baseline: the mean of the logits from each stream."""

    name = "separate classification"


class JointClassifier(_Softmax, JointEmotionModel):
    """All streams in one space, with one head."""

    name = "joint classification"


class ZeroShotClassifier(ZeroShotEmotionModel):
    """The scaled cosines of a dual encoder are the logits; their softmax is that of CLIP."""

    name = "zero-shot classification"

    def _logits(self, embedding: Tensor) -> Tensor:
        return self.logit_scale.exp() * embedding @ F.normalize(self.prompts, dim=-1).T  # (B, C)

"""The family that is not trained: a dual encoder's two towers, compared as they were pre-trained to be.

Radford et al. 2021 (CLIP), https://arxiv.org/abs/2103.00020, section 3.1; with ``sigmoid`` as in Zhai et al. 2023
(SigLIP), https://arxiv.org/abs/2303.15343.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmer_core.errors import ConfigError
from mmer_core.models.emotion import EmotionModel, EmotionOutput
from mmer_core.models.layers import Projection
from mmer_core.models.retrieval import JointRetrievalModel, RetrievalModel
from mmer_core.models.spec import ModelSpec


class ZeroShotRetrievalModel(RetrievalModel):
    """Cosine of the towers' projected features."""

    name = "zero-shot retrieval"

    def __init__(self, spec: ModelSpec) -> None:
        nn.Module.__init__(self)
        self.register_buffer("logit_scale", torch.tensor(0.0))

    def embed_image(self, features: Tensor) -> Tensor:
        return F.normalize(features, dim=-1)

    def embed_text(self, features: Tensor) -> Tensor:
        return F.normalize(features, dim=-1)


class ZeroShotEmotionModel(EmotionModel):
    """Cosine of an image's features with those of a prompt for every category; the mean over the image streams.

    With ``softmax`` a logit is the log-odds of the category's share among all, with ``sigmoid`` the scaled cosine
    plus the encoder's bias. There are no ratings.

    Raises:
        ConfigError: A softmax is asked for over fewer than two categories.
    """

    name = "zero-shot emotion"

    prompts: Tensor
    logit_scale: Tensor
    logit_bias: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        nn.Module.__init__(self)
        if spec.prompts.scores == "softmax" and len(spec.labels) < 2:
            raise ConfigError("one category has no rivals; use prompts.scores sigmoid")
        self.streams = tuple(spec.streams)
        self.scores = spec.prompts.scores
        self.register_buffer("prompts", torch.zeros(len(spec.labels), spec.embedding))
        self.register_buffer("logit_scale", torch.tensor(0.0))
        self.register_buffer("logit_bias", torch.tensor(0.0))

    def forward(self, features: dict[str, Tensor], present: dict[str, Tensor] | None = None) -> EmotionOutput:
        """Features by stream, each ``(B, D)``; ``present`` names, by stream, the samples ``(B,)`` that have it."""
        embeddings = {name: F.normalize(features[name], dim=-1) for name in self.streams if name in features}
        logits = {name: self._logits(embedding) for name, embedding in embeddings.items()}
        stacked = torch.stack(list(logits.values()))  # (S, B, C)
        every_sample = torch.ones(stacked.shape[1], dtype=torch.bool, device=stacked.device)
        mask = torch.stack([(present or {}).get(name, every_sample) for name in logits])[
            ..., None
        ]  # (S, B, 1)
        mask = mask | ~mask.any(dim=0)
        whole = (stacked * mask).sum(dim=0) / mask.sum(dim=0)
        none = whole[:, :0]
        return EmotionOutput(whole, none, embeddings, logits, dict.fromkeys(logits, none))

    def _logits(self, embedding: Tensor) -> Tensor:
        scores = self.logit_scale.exp() * embedding @ F.normalize(self.prompts, dim=-1).T  # (B, C)
        if self.scores == "sigmoid":
            return scores + self.logit_bias
        own = torch.eye(scores.shape[1], dtype=torch.bool, device=scores.device)
        rivals = scores[:, None, :].masked_fill(own, -torch.inf)  # (B, C, C): row c without category c
        return scores - rivals.logsumexp(dim=-1)


@torch.no_grad()
def start_from_towers(model: JointRetrievalModel, scale: float) -> None:
    """Let a fresh joint model embed as its dual encoder does, until training adds to it.

    Each linear map undoes the standardisation in front of it, and each branch ends in zeros. To be called when the
    standardisation is fitted.

    Args:
        scale: Inverse temperature of the dual encoder.

    Raises:
        ConfigError: The embedding is not as wide as the features, or has several heads.
    """
    for projection in (model.image, model.text):
        if not isinstance(projection, Projection):
            raise ConfigError("an embedding of several heads cannot start from a dual encoder's space")
        _pass_through(projection)
    model.logit_scale.fill_(scale).log_()


def _pass_through(projection: Projection) -> None:
    mean, std = projection.standardise.mean, projection.standardise.std
    if projection.linear.weight.shape != (len(std), len(std)):
        raise ConfigError(
            f"features of width {len(std)} do not pass unchanged into an embedding of another width; only a dual "
            "encoder with towers of one width starts from zero-shot"
        )
    projection.linear.weight.copy_(torch.diag(std))
    projection.linear.bias.copy_(mean)
    if projection.branch is not None:
        last = projection.branch[-1]
        last.weight.zero_()  # type: ignore[operator]
        last.bias.zero_()  # type: ignore[operator]

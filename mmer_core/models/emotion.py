"""Emotion models over several streams (context, body, text), in the two families that mmer compares."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmer_core.models.layers import EmotionHead, Projection

if TYPE_CHECKING:
    from mmer_core.models.spec import ModelSpec

IMAGE_STREAMS = ("context", "body")


@dataclass(frozen=True)
class EmotionOutput:
    """What an emotion model says of a batch.

    Attributes:
        logits: ``(B, C)`` category logits of the model as a whole.
        ratings: ``(B, V)`` valence, arousal, dominance on the 1..10 scale; ``V`` is 0 for a dataset
            without ratings.
        embeddings: By stream, ``(B, D)``.
        stream_logits: By stream, ``(B, C)``: what that stream alone says.
        stream_ratings: By stream, ``(B, V)``.
    """

    logits: Tensor
    ratings: Tensor
    embeddings: dict[str, Tensor]
    stream_logits: dict[str, Tensor]
    stream_ratings: dict[str, Tensor]


class EmotionModel(nn.Module):
    """Base of both families: a projection per stream.

    ``forward`` takes features by stream, each ``(B, D_stream)``; a stream that is left out is done without.
    """

    def __init__(self, spec: "ModelSpec") -> None:
        super().__init__()
        self.streams = tuple(spec.streams)
        self.projections = nn.ModuleDict(
            {
                name: Projection(width, spec.embedding, spec.hidden, spec.dropout)
                for name, width in spec.streams.items()
            }
        )

    def fit_statistics(self, features: dict[str, Tensor], labels: Tensor, ratings: Tensor) -> None:
        """Set everything that is estimated rather than learned, from the training split."""
        for name, projection in self.projections.items():
            projection.standardise.fit(features[name])  # type: ignore[operator, union-attr]
        for module in self.modules():
            if isinstance(module, EmotionHead):
                module.fit(labels, ratings)

    def forward(self, features: dict[str, Tensor]) -> EmotionOutput:
        raise TypeError("use SeparateEmotionModel or JointEmotionModel")


class SeparateEmotionModel(EmotionModel):
    """The baseline: every stream has its own embedding space and its own predictions.

    The model as a whole says the mean of what its streams say (late fusion).
    """

    def __init__(self, spec: "ModelSpec") -> None:
        super().__init__(spec)
        self.heads = nn.ModuleDict(
            {
                name: EmotionHead(spec.embedding, len(spec.labels), len(spec.dimensions))
                for name in spec.streams
            }
        )

    def forward(self, features: dict[str, Tensor]) -> EmotionOutput:
        embeddings = {name: F.gelu(self.projections[name](x)) for name, x in features.items()}
        said = {name: self.heads[name](embedding) for name, embedding in embeddings.items()}
        logits = {name: pair[0] for name, pair in said.items()}
        ratings = {name: pair[1] for name, pair in said.items()}
        return EmotionOutput(_mean(logits), _mean(ratings), embeddings, logits, ratings)


class JointEmotionModel(EmotionModel):
    """All streams in one L2-normalised latent space, fused there, with one head for all.

    What a stream alone says is the same head applied to that stream's embedding.
    """

    def __init__(self, spec: "ModelSpec") -> None:
        super().__init__(spec)
        self.fusion = spec.fusion
        self.head = EmotionHead(spec.embedding, len(spec.labels), len(spec.dimensions))
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        self.scale = spec.embedding**0.5
        if spec.fusion == "gated":
            self.gate = nn.Linear(spec.embedding, 1)
        elif spec.fusion == "concat":
            self.mix = nn.Linear(len(self.streams) * spec.embedding, spec.embedding)

    def forward(self, features: dict[str, Tensor]) -> EmotionOutput:
        embeddings = {name: F.normalize(self.projections[name](x), dim=-1) for name, x in features.items()}
        logits, ratings = self._read(embeddings)
        alone = {name: self._read({name: embedding}) for name, embedding in embeddings.items()}
        return EmotionOutput(
            logits,
            ratings,
            embeddings,
            {name: pair[0] for name, pair in alone.items()},
            {name: pair[1] for name, pair in alone.items()},
        )

    def image_and_text(self, output: EmotionOutput) -> tuple[Tensor, Tensor]:
        """The image's and the text's unit embeddings ``(B, D)``, as the alignment objective compares them."""
        image = [output.embeddings[name] for name in IMAGE_STREAMS if name in output.embeddings]
        return F.normalize(torch.stack(image).mean(dim=0), dim=-1), output.embeddings["text"]

    def _read(self, embeddings: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        # Unit vectors have coordinates of about 1/sqrt(D); the head is initialised for about 1.
        return self.head(self.scale * self._fuse(embeddings))

    def _fuse(self, embeddings: dict[str, Tensor]) -> Tensor:
        if self.fusion == "concat":
            absent = torch.zeros_like(next(iter(embeddings.values())))
            return self.mix(torch.cat([embeddings.get(name, absent) for name in self.streams], dim=-1))
        stacked = torch.stack(list(embeddings.values()))  # (S, B, D)
        if self.fusion == "gated":
            return (torch.softmax(self.gate(self.scale * stacked), dim=0) * stacked).sum(dim=0)
        return stacked.mean(dim=0)


def _mean(by_stream: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(by_stream.values())).mean(dim=0)

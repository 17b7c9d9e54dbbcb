"""Emotion models over several streams (context, body, text), in the two families that mmer compares."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmer_core.models.fusion import FUSIONS, MeanFusion
from mmer_core.models.layers import EmotionHead, Projection
from mmer_core.models.spec import ModelSpec

IMAGE_STREAMS = ("context", "body")
Presence = dict[str, Tensor]
"""By stream, ``(B,)`` bool: which samples have it; a stream that is not named is there for all."""


@dataclass(frozen=True)
class EmotionOutput:
    """What an emotion model says of a batch.

    Attributes:
        logits: ``(B, C)`` category logits of the model as a whole.
        ratings: ``(B, V)`` valence, arousal, dominance on the 1..10 scale; ``V`` is 0 for a dataset
            without ratings.
        embeddings: By stream, ``(B, D)``; zeros for a sample that does not have the stream.
        stream_logits: By stream, ``(B, C)``: what that stream alone says, which for a sample that does not have
            it is the same for all such samples.
        stream_ratings: By stream, ``(B, V)``.
    """

    logits: Tensor
    ratings: Tensor
    embeddings: dict[str, Tensor]
    stream_logits: dict[str, Tensor]
    stream_ratings: dict[str, Tensor]


class EmotionModel(nn.Module):
    """Base of both families: a projection per stream.

    ``forward`` takes features by stream, each ``(B, D_stream)``; a stream that is left out is done without, and
    so is one that ``present`` denies a single sample, whatever its features there.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.streams = tuple(spec.streams)
        self.projections = nn.ModuleDict(
            {
                name: Projection(width, spec.embedding, spec.hidden, spec.dropout)
                for name, width in spec.streams.items()
            }
        )

    def fit_statistics(
        self,
        features: dict[str, Tensor],
        labels: Tensor,
        ratings: Tensor,
        present: Presence | None = None,
    ) -> None:
        """Set everything that is estimated rather than learned, from the training split."""
        for name, projection in self.projections.items():
            there = (present or {}).get(name)
            known = features[name] if there is None else features[name][there]
            projection.standardise.fit(known)  # type: ignore[operator, union-attr]
        for module in self.modules():
            if isinstance(module, EmotionHead):
                module.fit(labels, ratings)

    def forward(self, features: dict[str, Tensor], present: Presence | None = None) -> EmotionOutput:
        raise TypeError("use SeparateEmotionModel or JointEmotionModel")

    def presence(self, features: dict[str, Tensor], present: Presence | None = None) -> Tensor:
        """``(B, S)`` bool, in the order of ``self.streams``: which sample has which stream."""
        some = next(iter(features.values()))
        # Not len(): an export to ONNX would take it for a constant.
        everybody = torch.ones(some.shape[0], dtype=torch.bool, device=some.device)
        return torch.stack(
            [
                (present or {}).get(name, everybody) if name in features else ~everybody
                for name in self.streams
            ],
            dim=1,
        )


class SeparateEmotionModel(EmotionModel):
    """The baseline: every stream has its own embedding space and its own predictions.

    The model as a whole says the mean of what the streams that are there say (late fusion).
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.heads = nn.ModuleDict(
            {
                name: EmotionHead(spec.embedding, len(spec.labels), len(spec.dimensions))
                for name in spec.streams
            }
        )
        self.late = MeanFusion()

    def forward(self, features: dict[str, Tensor], present: Presence | None = None) -> EmotionOutput:
        there = self.presence(features, present)  # (B, S)
        embeddings: dict[str, Tensor] = {}
        logits: dict[str, Tensor] = {}
        ratings: dict[str, Tensor] = {}
        for column, name in enumerate(self.streams):
            if name not in features:
                continue
            embedding = F.gelu(self.projections[name](features[name]))
            embeddings[name] = _only(embedding, there[:, column])
            logits[name], ratings[name] = self.heads[name](embeddings[name])
        return EmotionOutput(
            self._mean(logits, there), self._mean(ratings, there), embeddings, logits, ratings
        )

    def _mean(self, said: dict[str, Tensor], there: Tensor) -> Tensor:
        columns = [column for column, name in enumerate(self.streams) if name in said]
        voiced = there[:, columns]
        stacked = torch.stack(list(said.values()), dim=1)  # (B, streams given, C or V)
        # A sample without any stream gets what each of them says of nothing.
        voiced = voiced | ~voiced.any(dim=1, keepdim=True)
        return self.late(_only(stacked, voiced), voiced)


class JointEmotionModel(EmotionModel):
    """All streams in one L2-normalised latent space, fused there, with one head for all.

    What a stream alone says is the same head on the same fusion when all other streams are absent.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.head = EmotionHead(spec.embedding, len(spec.labels), len(spec.dimensions))
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        self.scale = spec.embedding**0.5
        self.fusion = FUSIONS[spec.fusion](len(self.streams), spec.embedding)

    def forward(self, features: dict[str, Tensor], present: Presence | None = None) -> EmotionOutput:
        there = self.presence(features, present)
        embeddings = self.embed(features, there)
        logits, ratings = self.read(embeddings, there)
        alone = {name: self.read(embeddings, self._only_stream(there, name)) for name in embeddings}
        return EmotionOutput(
            logits,
            ratings,
            embeddings,
            {name: pair[0] for name, pair in alone.items()},
            {name: pair[1] for name, pair in alone.items()},
        )

    def embed(self, features: dict[str, Tensor], there: Tensor) -> dict[str, Tensor]:
        """Unit embeddings ``(B, D)`` by stream; zeros where ``there (B, S)`` denies a sample the stream."""
        return {
            name: _only(F.normalize(self.projections[name](features[name]), dim=-1), there[:, column])
            for column, name in enumerate(self.streams)
            if name in features
        }

    def read(self, embeddings: dict[str, Tensor], heard: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(B, C)`` and ratings ``(B, V)`` from the streams that ``heard (B, S)`` lets through."""
        absent = torch.zeros_like(next(iter(embeddings.values())))
        streams = torch.stack([embeddings.get(name, absent) for name in self.streams], dim=1)  # (B, S, D)
        # Unit vectors have coordinates of about 1/sqrt(D); fusion and head are initialised for about 1.
        return self.head(self.fusion(_only(self.scale * streams, heard), heard))

    def image_and_text(self, embeddings: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The image's and the text's unit embeddings ``(B, D)``, as the alignment objective compares them."""
        image = [embeddings[name] for name in IMAGE_STREAMS if name in embeddings]
        return F.normalize(torch.stack(image).mean(dim=0), dim=-1), embeddings["text"]

    def _only_stream(self, there: Tensor, name: str) -> Tensor:
        mine = torch.tensor([other == name for other in self.streams], device=there.device)
        return there & mine


def _only(values: Tensor, there: Tensor) -> Tensor:
    """``values (..., D)`` with zeros where ``there (...)`` is False, whatever stood there."""
    return torch.where(there[..., None], values, torch.zeros((), dtype=values.dtype, device=values.device))

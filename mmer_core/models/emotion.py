"""Emotion models over several streams (context, body, text), in the two families that mmer compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmer_core.matrix import Matrix, passes
from mmer_core.models.fusion import FUSIONS
from mmer_core.models.layers import EmotionHead, Projection, Standardise
from mmer_core.models.spec import ModelSpec

IMAGE_STREAMS = ("context", "body")
Presence = dict[str, Tensor]
"""By stream, ``(B,)`` bool: which samples have it; all samples have a stream that is not named."""
Prediction = tuple[Tensor, Tensor]
"""Logits ``(B, C)`` and ratings ``(B, V)``."""


@dataclass(frozen=True)
class EmotionOutput:
    """The predictions of an emotion model for a batch.

    Attributes:
        logits: ``(B, C)`` category logits of the model as a whole.
        ratings: ``(B, V)`` valence, arousal, dominance on the 1..10 scale; ``V`` is 0 for a dataset
            without ratings.
        embeddings: By stream, ``(B, D)``; zeros for a sample that does not have the stream.
        stream_logits: By stream, ``(B, C)``: the prediction from that stream alone; all samples without it have
            the same one.
        stream_ratings: By stream, ``(B, V)``.
    """

    logits: Tensor
    ratings: Tensor
    embeddings: dict[str, Tensor]
    stream_logits: dict[str, Tensor]
    stream_ratings: dict[str, Tensor]


class EmotionModel(nn.Module):
    """Base of both families: every stream becomes a unit vector, and streams that are absent are done without.

    ``forward`` takes features by stream, each ``(B, D_stream)``. Streams may be missing for the whole batch (no key)
    or for single samples (``present`` is False; their features are ignored).

    Logits are what the heads say plus a linear map of every stream's standardised features, the same in every family: the
    linear probe. It is fitted once, on all streams together, and no gradient changes it: heads learn what a linear model
    does not see.
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
        self.linear = nn.ModuleDict(
            {name: _silent(width, len(spec.labels)) for name, width in spec.streams.items()}
        )
        # Unit vectors have coordinates of about 1/sqrt(D); fusion and heads are initialised for about 1.
        self.scale = spec.embedding**0.5

    def fit_statistics(
        self,
        features: Mapping[str, Matrix],
        labels: Tensor,
        ratings: Tensor,
        present: Presence | None = None,
    ) -> None:
        """Set everything that is estimated rather than learned, from the training split."""
        for name, projection in self.projections.items():
            known = passes(features[name], (present or {}).get(name))
            projection.standardise.fit(known)  # type: ignore[operator, union-attr]
        for module in self.modules():
            if isinstance(module, EmotionHead):
                module.fit(labels, ratings)

    def forward(self, features: dict[str, Tensor], present: Presence | None = None) -> EmotionOutput:
        mask = self.presence(features, present)  # (B, S)
        embeddings, linear = self.embed(features, mask), self.read_linearly(features, mask)
        logits, ratings = self.predict(embeddings, mask)
        alone = self.alone(embeddings, mask)
        return EmotionOutput(
            logits + sum(linear.values()),
            ratings,
            embeddings,
            {name: pair[0] + linear[name] for name, pair in alone.items()},
            {name: pair[1] for name, pair in alone.items()},
        )

    def presence(self, features: Mapping[str, Matrix], present: Presence | None = None) -> Tensor:
        """``(B, S)`` bool, in the order of ``self.streams``: which sample has which stream."""
        some = next(iter(features.values()))
        # Not len(): an export to ONNX would take it for a constant.
        every_sample = torch.ones(some.shape[0], dtype=torch.bool, device=some.device)
        return torch.stack(
            [
                (present or {}).get(name, every_sample) if name in features else ~every_sample
                for name in self.streams
            ],
            dim=1,
        )

    def _by_stream(self, make: Callable[[str, Tensor], Tensor], mask: Tensor) -> Tensor:
        """``(B, S)`` bool, of each stream's column of ``mask``; without a tensor of the host, which would be copied."""
        return torch.stack([make(name, mask[:, at]) for at, name in enumerate(self.streams)], dim=1)

    def embed(self, features: dict[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
        """Unit embeddings ``(B, D)`` by stream; zeros where ``mask (B, S)`` is False."""
        return {
            name: _only(F.normalize(self.projections[name](features[name]), dim=-1), mask[:, column])
            for column, name in enumerate(self.streams)
            if name in features
        }

    def standardise(self, stream: str) -> Standardise:
        """What a stream's features are standardised by."""
        standardise = self.projections[stream].standardise
        assert isinstance(standardise, Standardise)
        return standardise

    def read_linearly(self, features: dict[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
        """What the linear path adds to the logits, ``(B, C)`` by stream; zeros where ``mask (B, S)`` is False."""
        return {
            name: _only(self.linear[name](self.standardise(name).unlimited(features[name])), mask[:, column])
            for column, name in enumerate(self.streams)
            if name in features
        }

    def predict(self, embeddings: dict[str, Tensor], mask: Tensor) -> Prediction:
        """Logits ``(B, C)``, but for the linear path, and ratings ``(B, V)`` from the streams where ``mask (B, S)`` is
        True."""
        raise TypeError("use SeparateEmotionModel or JointEmotionModel")

    def alone(self, embeddings: dict[str, Tensor], mask: Tensor) -> dict[str, Prediction]:
        """The prediction from each stream alone."""
        raise TypeError("use SeparateEmotionModel or JointEmotionModel")

    def to_learn(
        self, embeddings: dict[str, Tensor], mask: Tensor
    ) -> Iterator[tuple[Prediction, tuple[str, ...]]]:
        """The predictions that training compares with the truth, but for the linear path, with the gradients that they may send, and of which
        streams a sample must have one to learn from it; of none where that is empty."""
        for name, prediction in self.alone(embeddings, mask).items():
            yield prediction, (name,)


class SeparateEmotionModel(EmotionModel):
    """The baseline: every stream has its own embedding space and its own predictions, and learns by itself.

    The model as a whole predicts a mean of the predictions from the streams that are present, with equal weights or
    with weights that are learned, on predictions that they cannot change.
    """

    name = "separate emotion"

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        categories, dimensions = len(spec.labels), len(spec.dimensions)
        self.heads = nn.ModuleDict(
            {name: EmotionHead(spec.embedding, categories, dimensions) for name in spec.streams}
        )
        self.fusion = FUSIONS[spec.fusion](len(self.streams), categories + dimensions)

    def predict(self, embeddings: dict[str, Tensor], mask: Tensor) -> Prediction:
        return self._fused(self.alone(embeddings, mask), mask)

    def alone(self, embeddings: dict[str, Tensor], mask: Tensor) -> dict[str, Prediction]:
        return {name: self.heads[name](self.scale * embedding) for name, embedding in embeddings.items()}

    def to_learn(
        self, embeddings: dict[str, Tensor], mask: Tensor
    ) -> Iterator[tuple[Prediction, tuple[str, ...]]]:
        yield from super().to_learn(embeddings, mask)
        if any(True for _ in self.fusion.parameters()):
            alone = self.alone({name: one.detach() for name, one in embeddings.items()}, mask)
            held = {name: (logits.detach(), ratings.detach()) for name, (logits, ratings) in alone.items()}
            yield self._fused(held, mask), self.streams

    def _fused(self, alone: dict[str, Prediction], mask: Tensor) -> Prediction:
        # A sample without any stream gets the prediction from zeros.
        nothing = ~mask.any(dim=1)
        counted = self._by_stream(lambda name, own: own | nothing if name in alone else own, mask)
        both = {name: torch.cat(prediction, dim=1) for name, prediction in alone.items()}  # (B, C + V)
        absent = torch.zeros_like(next(iter(both.values())))
        stacked = torch.stack([both.get(name, absent) for name in self.streams], dim=1)  # (B, S, C + V)
        fused = self.fusion(_only(stacked, counted), counted)
        categories = next(iter(alone.values()))[0].shape[1]
        return fused[:, :categories], fused[:, categories:]


class JointEmotionModel(EmotionModel):
    """All streams in one latent space, fused mask, with one head for all.

    The prediction from one stream is that of the same head on the same fusion with all other streams absent. With
    ``late`` as fusion every stream learns to predict alone, and the mean of their predictions is the model's.
    """

    name = "joint emotion"

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.head = EmotionHead(spec.embedding, len(spec.labels), len(spec.dimensions))
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        self.fusion = FUSIONS[spec.fusion](len(self.streams), spec.embedding)
        self.late = spec.fusion == "late"

    def predict(self, embeddings: dict[str, Tensor], mask: Tensor) -> Prediction:
        absent = torch.zeros_like(next(iter(embeddings.values())))
        streams = torch.stack([embeddings.get(name, absent) for name in self.streams], dim=1)  # (B, S, D)
        return self.head(self.fusion(_only(self.scale * streams, mask), mask))

    def alone(self, embeddings: dict[str, Tensor], mask: Tensor) -> dict[str, Prediction]:
        return {name: self.predict(embeddings, self._only_stream(mask, name)) for name in embeddings}

    def to_learn(
        self, embeddings: dict[str, Tensor], mask: Tensor
    ) -> Iterator[tuple[Prediction, tuple[str, ...]]]:
        if self.late:
            yield from super().to_learn(embeddings, mask)
        else:
            yield self.predict(embeddings, mask), ()

    def image_and_text(self, embeddings: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The image's and the text's unit embeddings ``(B, D)``, as the alignment objective compares them."""
        return self.image(embeddings), embeddings["text"]

    def embed_image(self, features: dict[str, Tensor]) -> Tensor:
        """Features by image stream, each ``(B, D_stream)``, to unit vectors ``(B, D)`` of the shared space."""
        return self.image(self.embed(features, self.presence(features)))

    def embed_text(self, features: Tensor) -> Tensor:
        """``(B, D_text)`` features to unit vectors ``(B, D)`` of the shared space."""
        streams = {"text": features}
        return self.embed(streams, self.presence(streams))["text"]

    def image(self, embeddings: dict[str, Tensor]) -> Tensor:
        """The image's unit embedding ``(B, D)``: the mean of those of the image streams."""
        streams = [embeddings[name] for name in IMAGE_STREAMS if name in embeddings]
        return F.normalize(torch.stack(streams).mean(dim=0), dim=-1)

    def _only_stream(self, mask: Tensor, name: str) -> Tensor:
        return self._by_stream(lambda other, own: own if other == name else torch.zeros_like(own), mask)


def _silent(width: int, categories: int) -> nn.Linear:
    """A linear map to zeros, which no optimiser changes."""
    linear = nn.Linear(width, categories, bias=False).requires_grad_(False)
    nn.init.zeros_(linear.weight)
    return linear


def _only(values: Tensor, mask: Tensor) -> Tensor:
    """``values (..., D)`` with zeros where ``mask (...)`` is False."""
    return torch.where(mask[..., None], values, torch.zeros((), dtype=values.dtype, device=values.device))

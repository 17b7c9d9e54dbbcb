"""Image-text matching models, in the two families that mmer compares."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmer_core.matrix import Matrix
from mmer_core.models.layers import Projection, ProjectionHeads
from mmer_core.models.spec import ModelSpec


class RetrievalModel(nn.Module):
    """Base of both families: image features and text features to unit vectors compared by cosine.

    Attributes:
        teachers: Parts that only training reads.
    """

    teachers: ClassVar[tuple[str, ...]] = ()

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.heads = spec.heads
        self.image = _projection(spec, "context", spec.power)
        self.text = _projection(spec, "text")
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        self.width = spec.heads * spec.embedding
        # Unit vectors have coordinates of about 1/sqrt(D); linear maps start for about 1.
        self.scale = self.width**0.5

    def fit_statistics(self, images: Matrix, texts: Matrix) -> None:
        """Set what is estimated of the inputs, from the training split's features."""
        self.image.fit(images)
        self.text.fit(texts)

    def embed_image(self, features: Tensor) -> Tensor:
        """``(B, D_image)`` features to ``(B, D)`` unit vectors of the retrieval space."""
        return F.normalize(self.image(features), dim=-1)

    def embed_text(self, features: Tensor) -> Tensor:
        """``(B, D_text)`` features to ``(B, D)`` unit vectors of the retrieval space."""
        return F.normalize(self.text(features), dim=-1)

    def own_image_embedding(self, features: Tensor) -> Tensor:
        """``(B, D)``: the image as outputs of its own read it, with coordinates of about 1."""
        return self.scale * self.embed_image(features)

    def to_align(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of features ``(B, D_image)`` and ``(T, D_text)`` with the gradients that matching them may send."""
        return self.embed_image(images), self.embed_text(texts)

    def by_head(self, embedding: Tensor) -> list[Tensor]:
        """A unit vector ``(B, D)`` of the retrieval space as the unit vectors ``(B, D / heads)`` of its heads."""
        return [part * self.heads**0.5 for part in embedding.chunk(self.heads, dim=-1)]


def _projection(spec: ModelSpec, stream: str, power: float = 1.0) -> Projection | ProjectionHeads:
    shape = (spec.streams[stream], spec.embedding, spec.hidden, spec.dropout)
    parts = spec.parts.get(stream, 1)
    if spec.heads == 1:
        return Projection(*shape, power=power, parts=parts)
    return ProjectionHeads(spec.heads, *shape, power=power, parts=parts)


class JointRetrievalModel(RetrievalModel):
    """Both modalities are projected into one shared, L2-normalised space, trained contrastively."""

    name = "joint retrieval"


class SeparateRetrievalModel(RetrievalModel):
    """The baseline: each modality learns its own space by predicting the words of the captions.

    Retrieval goes through a linear map of every head from the image space to the text space, learned on embeddings that
    it cannot change: neither modality ever sees a gradient from the other.
    """

    name = "separate retrieval"
    teachers = ("image_words", "text_words")

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.words = spec.words
        self.image_words = nn.Linear(self.width, len(spec.words))
        self.text_words = nn.Linear(self.width, len(spec.words))
        self.maps = nn.ModuleList(nn.Linear(spec.embedding, spec.embedding) for _ in range(spec.heads))

    @torch.no_grad()
    def fit_words(self, shares: Tensor) -> None:
        """Start from what a constant predictor knows: the share of captions that hold each word, ``(W,)`` in 0..1 (both excluded).

        Words are rare. From biases of zero the fastest way to say so is that all embeddings become alike, and then there is
        nothing left in them to match by.
        """
        for predictor in (self.image_words, self.text_words):
            predictor.bias.copy_(torch.logit(shares))

    def own_image_embedding(self, features: Tensor) -> Tensor:
        """``(B, D)``: the image in its own space, before the maps."""
        return self.scale * super().embed_image(features)

    def own_text_embedding(self, features: Tensor) -> Tensor:
        """``(B, D)``: the text in its own space."""
        return self.scale * super().embed_text(features)

    def embed_image(self, features: Tensor) -> Tensor:
        return self._mapped(self.own_image_embedding(features))

    def embed_text(self, features: Tensor) -> Tensor:
        return F.normalize(self.own_text_embedding(features), dim=-1)

    def to_align(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        own_image, own_text = self.own_image_embedding(images), self.own_text_embedding(texts)
        return self._mapped(own_image.detach()), F.normalize(own_text.detach(), dim=-1)

    def _mapped(self, own: Tensor) -> Tensor:
        heads = zip(self.maps, own.chunk(self.heads, dim=-1), strict=True)
        units = [F.normalize(to_text(head), dim=-1) for to_text, head in heads]
        return torch.cat(units, dim=-1) / self.heads**0.5

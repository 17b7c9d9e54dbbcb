"""A decoder of self-attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmer_core.models.decoders.base import CaptionDecoder, State
from mmer_core.models.decoders.spec import DecoderSpec
from mmer_core.models.decoders.vocabulary import LONGEST


class TransformerDecoder(CaptionDecoder):
    """A small causal transformer (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), normalised before each layer.

    The photo stands before the words as a few vectors (as in Mokady et al. 2021, *ClipCap*,
    https://arxiv.org/abs/2111.09734).
    """

    name = "transformer"

    def __init__(self, spec: DecoderSpec) -> None:
        super().__init__(spec)
        self.photo = nn.Linear(spec.embedding, spec.prefix * spec.width)
        self.places = nn.Parameter(0.02 * torch.randn(spec.prefix + LONGEST + 1, spec.width))
        layer = nn.TransformerEncoderLayer(
            *(spec.width, spec.heads, 4 * spec.width, spec.dropout),
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(
            layer, spec.layers, nn.LayerNorm(spec.width), enable_nested_tensor=False
        )

    def hidden(self, images: Tensor, words: Tensor) -> Tensor:
        return self._read(torch.cat([self._prefix(images), self.vectors(words)], dim=1))[
            :, self.spec.prefix :
        ]

    def begin(self, images: Tensor) -> State:
        return (self._prefix(images),)

    def step(self, state: State, words: Tensor) -> tuple[Tensor, State]:
        # Captions are short: reading all of it again costs less than a cache of keys and values is worth.
        whole = torch.cat([state[0], self.vectors(words)[:, None]], dim=1)
        return self._read(whole)[:, -1], (whole,)

    def _prefix(self, images: Tensor) -> Tensor:
        return self.photo(images).unflatten(1, (self.spec.prefix, -1))  # (B, P, W)

    def _read(self, vectors: Tensor) -> Tensor:
        """``(B, P + L, W)``, each place knowing those before it."""
        length = vectors.shape[1]
        later = torch.ones(length, length, dtype=torch.bool, device=vectors.device).triu(1)
        return self.layers(self.dropout(vectors + self.places[:length]), mask=later, is_causal=True)

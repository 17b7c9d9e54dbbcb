"""A recurrent decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmer_core.models.decoders.base import CaptionDecoder, State
from mmer_core.models.decoders.spec import DecoderSpec


class GruDecoder(CaptionDecoder):
    """One layer of gated recurrent units (Cho et al. 2014, https://arxiv.org/abs/1406.1078).

    The photo is the state before the first word, and is added to every word that is read, so that it is not forgotten.
    """

    name = "gru"

    def __init__(self, spec: DecoderSpec) -> None:
        super().__init__(spec)
        self.start = nn.Linear(spec.embedding, spec.hidden)
        self.photo = nn.Linear(spec.embedding, spec.width)
        self.cells = nn.GRU(spec.width, spec.hidden)
        self.out = nn.Linear(spec.hidden, spec.width)

    def hidden(self, images: Tensor, words: Tensor) -> Tensor:
        read = self.dropout(self.vectors(words) + self.photo(images)[:, None])  # (B, L, W)
        states, _ = self.cells(read.transpose(0, 1), torch.tanh(self.start(images))[None])  # (L, B, H)
        return self.out(self.dropout(states.transpose(0, 1)))

    def begin(self, images: Tensor) -> State:
        return self.photo(images), torch.tanh(self.start(images))

    def step(self, state: State, words: Tensor) -> tuple[Tensor, State]:
        photo, before = state
        _, after = self.cells((self.vectors(words) + photo)[None], before[None].contiguous())
        return self.out(after[0]), (photo, after[0])

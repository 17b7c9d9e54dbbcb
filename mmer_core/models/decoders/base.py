"""What decoders share: word vectors, the loss by teacher forcing, and the interface by which captions are searched for."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmer_core.models.decoders.spec import DecoderSpec
from mmer_core.models.decoders.vocabulary import END, SPECIAL, START

State = tuple[Tensor, ...]
"""What a decoder keeps of the words that it wrote; of every tensor the first dimension is the caption's."""


class CaptionDecoder(nn.Module, ABC):
    """A model of the next word, given a photo's embedding and the words before it.

    Words are read and predicted by the same vectors (Press and Wolf 2017, *Using the Output Embedding to Improve Language
    Models*, https://arxiv.org/abs/1608.05859): with thousands of captions there is too little to learn them twice.

    Attributes:
        name: Of this kind, in configurations.
    """

    name: str

    def __init__(self, spec: DecoderSpec) -> None:
        super().__init__()
        self.spec = spec
        self.vectors = nn.Embedding(len(spec.vocabulary), spec.width)
        nn.init.normal_(self.vectors.weight, std=spec.width**-0.5)
        self.bias = nn.Parameter(torch.zeros(len(spec.vocabulary)))
        self.dropout = nn.Dropout(spec.dropout)

    @abstractmethod
    def hidden(self, images: Tensor, words: Tensor) -> Tensor:
        """``(B, L, W)`` what predicts the word after each of ``words (B, L)``, of photos ``images (B, D)``."""

    @abstractmethod
    def begin(self, images: Tensor) -> State:
        """The state before the first word, of photos ``images (B, D)``."""

    @abstractmethod
    def step(self, state: State, words: Tensor) -> tuple[Tensor, State]:
        """``(B, W)`` what predicts the word after ``words (B,)``, and the state after them."""

    def logits(self, hidden: Tensor) -> Tensor:
        """``(..., W)`` to ``(..., V)``, a logit for every number of the vocabulary."""
        return F.linear(hidden, self.vectors.weight, self.bias)

    @torch.no_grad()
    def fit_words(self, shares: Tensor) -> None:
        """Start from what a constant predictor knows: of all that is written the share of each number of the vocabulary, ``(V,)``
        above 0."""
        self.bias.copy_(shares.log())

    def loss(self, images: Tensor, words: Tensor, places: Tensor) -> Tensor:
        """Mean cross-entropy in nats of the words of captions, each given the true words before it; a scalar.

        Args:
            images: ``(P, D)`` the photo of each caption.
            words: ``(P, L)`` as `Vocabulary.encode` gives them.
            places: ``(M,)`` where in the flattened ``words`` there is no padding.
        """
        before = F.pad(words[:, :-1], (1, 0), value=START)
        hidden = self.hidden(images, before).flatten(0, 1)[places]
        return F.cross_entropy(self.logits(hidden), words.flatten()[places].long())

    def next_words(self, state: State, words: Tensor) -> tuple[Tensor, State]:
        """``(B, V)`` log-probabilities of the next number among words and `END`, and the state after ``words (B,)``."""
        hidden, state = self.step(state, words)
        logits = self.logits(hidden).float()
        # A caption is made of words: neither padding, nor a second start, nor a word that is not known.
        numbers = torch.arange(logits.shape[1], device=logits.device)
        logits = logits.masked_fill((numbers < len(SPECIAL)) & (numbers != END), -torch.inf)
        return logits.log_softmax(dim=-1), state

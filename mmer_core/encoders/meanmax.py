"""``meanmax:<encoder>``: mean and maximum of a text encoder's token states, side by side."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from mmer_core.encoders.base import Pooling, TextEncoder
from mmer_core.encoders.parts import token_states, transformer
from mmer_core.encoders.registry import encoder_identity, load_text_encoder, text_folder
from mmer_core.encoders.source import TextSource
from mmer_core.errors import EncoderError


class MeanMax(Pooling):
    """Token states ``(B, L, D)`` of a transformer to ``(B, 2 D)``: their mean as a unit vector, then their maximum.

    Sentence encoders are trained by the cosine of the mean, so its direction matters; the maximum by dimension
    preserves single words in texts of any length. Padding is excluded from both (Shen et al. 2018, *Baseline Needs
    More Love*, https://arxiv.org/abs/1805.09843, section 3: concatenated average and max pooling).
    """

    def forward(self, **tokens: Tensor) -> Tensor:
        states, there = token_states(self.model, tokens)
        mean = states.masked_fill(~there, 0.0).sum(dim=1) / there.sum(dim=1)
        mean = functional.normalize(mean, dim=-1)
        return torch.cat([mean, states.masked_fill(~there, -torch.inf).amax(dim=1)], dim=-1)


def mean_and_max(encoder: TextEncoder) -> TextEncoder:
    """The encoder with `MeanMax` instead of its own pooling; twice as wide.

    Raises:
        EncoderError: The encoder has no token states, as the text tower of a dual encoder.
    """
    model = transformer(encoder)
    if model is None:
        raise EncoderError(
            f"{encoder.name} has no states of single tokens to pool; name it without meanmax: in front"
        )
    return TextEncoder(f"meanmax:{encoder.name}", MeanMax(model), encoder.tokenize, 2 * encoder.width)


class MeanMaxPooling(TextSource):
    """`mean_and_max` of another encoder."""

    name = "meanmax"
    summary = "ENCODER, gives mean and maximum over its tokens"
    wraps = True

    def identity(self, spec: str) -> dict[str, str]:
        return {"pooling": "meanmax", **encoder_identity(spec, "text")}

    def load(self, spec: str) -> TextEncoder:
        return mean_and_max(load_text_encoder(spec))

    def folder(self, spec: str) -> Path:
        return text_folder(spec)

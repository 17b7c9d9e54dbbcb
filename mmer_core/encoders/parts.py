"""``regions:<image encoder>`` and ``tokens:<text encoder>``: features of parts, before the encoder pools them.

A model that reads them pools by learned attention, see `mmer_core.models.layers.AttentionPool`. The parts of one
input are concatenated in one row ``(parts * D)``, so that features stay matrices; missing parts are zeros.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmer_core.encoders.base import ImageEncoder, Pooling, TextEncoder
from mmer_core.encoders.registry import (
    bare_name,
    encoder_identity,
    load_image_encoder,
    load_text_encoder,
    text_folder,
)
from mmer_core.encoders.source import ImageSource, TextSource
from mmer_core.errors import EncoderError

GRID = 4
"""Rows and columns of the grid of regions."""
TOKENS = 32
"""Number of leading tokens to keep; a caption of Flickr8k has 14 on average."""


class Regions(nn.Module):
    """``(B, 3, H, W)`` to ``(B, GRID * GRID * D)``: an image network's last feature map, averaged by region.

    Args:
        module: Has a method ``maps`` from ``(B, 3, H, W)`` to ``(B, D, h, w)``.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.module.maps(images)  # type: ignore[operator]
        regions = functional.adaptive_avg_pool2d(maps, GRID)  # (B, D, GRID, GRID)
        return regions.flatten(2).transpose(1, 2).flatten(1)


class Tokens(Pooling):
    """A transformer's token states to ``(B, TOKENS * D)``: longer texts are truncated, padding is zeros."""

    def forward(self, **tokens: Tensor) -> Tensor:
        states, there = token_states(self.model, tokens)
        states = states.masked_fill(~there, 0.0)[:, :TOKENS]
        return functional.pad(states, (0, 0, 0, TOKENS - states.shape[1])).flatten(1)


def by_region(encoder: ImageEncoder) -> ImageEncoder:
    """The encoder with `Regions` instead of its pooling; ``GRID * GRID`` times as wide.

    Raises:
        EncoderError: The encoder has no accessible feature map.
    """
    side = encoder.preprocessing.size
    try:
        with torch.inference_mode():
            width = encoder.module.maps(torch.zeros(1, 3, side, side)).shape[1]  # type: ignore[operator]
    except (AttributeError, ValueError):
        raise EncoderError(
            f"{encoder.name} has no feature map to divide into regions; name it without regions: in front"
        ) from None
    return ImageEncoder(
        f"regions:{encoder.name}", Regions(encoder.module), encoder.preprocessing, GRID * GRID * width
    )


def by_token(encoder: TextEncoder) -> TextEncoder:
    """The encoder with `Tokens` instead of its pooling; ``TOKENS`` times as wide.

    Raises:
        EncoderError: The encoder has no token states, as the text tower of a dual encoder.
    """
    model = transformer(encoder)
    if model is None:
        raise EncoderError(f"{encoder.name} has no states of single tokens; name it without tokens: in front")
    return TextEncoder(f"tokens:{encoder.name}", Tokens(model), encoder.tokenize, TOKENS * encoder.width)


def token_states(model: Any, tokens: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """A transformer's last states ``(B, L, D)``, and ``(B, L, 1)`` bool: True for tokens that are not padding."""
    return model(**tokens).last_hidden_state, tokens["attention_mask"][..., None].bool()


def transformer(encoder: TextEncoder) -> nn.Module | None:
    """The network that outputs token states; None if there is none, as in a dual encoder's tower."""
    model = getattr(encoder.module, "model", None)
    pooled = hasattr(model, "get_text_features") or bare_name(encoder.name) != encoder.name
    return None if pooled or "attention_mask" not in encoder.tokenize(["width"]) else model


def parts(name: str) -> int:
    """Number of parts in the features of an encoder of this name."""
    return {"regions": GRID * GRID, "tokens": TOKENS}.get(name.partition(":")[0], 1)


class RegionFeatures(ImageSource):
    """`by_region` of another encoder."""

    name = "regions"
    summary = (
        f"ENCODER, before all others, gives {GRID} x {GRID} regions, which a captioned dataset's model pools by "
        "learned attention"
    )
    wraps = True

    def identity(self, spec: str) -> dict[str, str]:
        return {"parts": f"{GRID}x{GRID}", **encoder_identity(spec, "image")}

    def load(self, spec: str, size: int | None) -> ImageEncoder:
        return by_region(load_image_encoder(spec, size))


class TokenFeatures(TextSource):
    """`by_token` of another encoder."""

    name = "tokens"
    summary = f"ENCODER, gives the first {TOKENS} tokens, which a captioned dataset's model pools by learned attention"
    wraps = True

    def identity(self, spec: str) -> dict[str, str]:
        return {"parts": f"{TOKENS} tokens", **encoder_identity(spec, "text")}

    def load(self, spec: str) -> TextEncoder:
        return by_token(load_text_encoder(spec))

    def folder(self, spec: str) -> Path:
        return text_folder(spec)

"""``regions:<image encoder>`` and ``tokens:<text encoder>``: features of parts, before the encoder pools them.

A model that reads them pools by learned attention, see `mmer_core.models.layers.AttentionPool`. The parts of one
input are concatenated in one row ``(parts * D)``, so that features stay matrices; missing parts are zeros.
"""

from __future__ import annotations

from pathlib import Path

from mmer_core.encoders.base import ImageEncoder, TextEncoder
from mmer_core.encoders.registry import (
    bare_name,
    encoder_identity,
    load_image_encoder,
    load_text_encoder,
    text_folder,
)
from mmer_core.encoders.source import ImageSource, TextSource
from mmer_core.errors import EncoderError
from mmer_core.heavy import nn, torch

GRID = 4
"""Rows and columns of the grid of regions."""
TOKENS = 32
"""Number of leading tokens to keep; a caption of Flickr8k has 14 on average."""


def by_region(encoder: ImageEncoder) -> ImageEncoder:
    """The encoder with `Regions` instead of its pooling; ``GRID * GRID`` times as wide.

    Raises:
        EncoderError: The encoder has no accessible feature map.
    """
    from mmer_core.encoders.networks.parts import Regions

    side = encoder.preprocessing.size
    try:
        with torch.inference_mode():
            width = encoder.module.maps(torch.zeros(1, 3, side, side)).shape[1]  # type: ignore[operator]
    except (AttributeError, ValueError):
        raise EncoderError(
            f"{encoder.name} has no feature map to divide into regions; name it without regions: in front"
        ) from None
    return ImageEncoder(
        f"regions:{encoder.name}", Regions(encoder.module, GRID), encoder.preprocessing, GRID * GRID * width
    )


def by_token(encoder: TextEncoder) -> TextEncoder:
    """The encoder with `Tokens` instead of its pooling; ``TOKENS`` times as wide.

    Raises:
        EncoderError: The encoder has no token states, as the text tower of a dual encoder.
    """
    from mmer_core.encoders.networks.parts import Tokens

    model = transformer(encoder)
    if model is None:
        raise EncoderError(f"{encoder.name} has no states of single tokens; name it without tokens: in front")
    return TextEncoder(
        f"tokens:{encoder.name}", Tokens(model, TOKENS), encoder.tokenize, TOKENS * encoder.width
    )


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

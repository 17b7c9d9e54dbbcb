"""Decoders on disk, beside their model: the specification as JSON, the weights as safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from mmer_core.errors import ConfigError
from mmer_core.models.checkpoint import save_weights, with_weights
from mmer_core.models.decoders.base import CaptionDecoder
from mmer_core.models.decoders.spec import DECODER_FILE, DecoderSpec
from mmer_core.named import Registry

WEIGHTS_FILE = "decoder.safetensors"

DECODERS: Registry[Any] = Registry("decoder", CaptionDecoder, "mmer_core.models.decoders")


def build_decoder(spec: DecoderSpec) -> CaptionDecoder:
    """A freshly initialised decoder; the initial weights follow torch's global random state."""
    decoder: CaptionDecoder = DECODERS[spec.kind](spec)
    return decoder


def save_decoder(decoder: CaptionDecoder, folder: Path) -> None:
    """Write ``decoder.json`` and ``decoder.safetensors``."""
    save_weights(decoder, folder / WEIGHTS_FILE)
    (folder / DECODER_FILE).write_text(decoder.spec.model_dump_json(indent=2) + "\n", "utf-8")


def load_decoder(folder: Path) -> CaptionDecoder:
    """Read a trained decoder, in evaluation mode, on the CPU.

    Raises:
        ConfigError: The folder's model has none, or its weights are not those of such a decoder now.
    """
    try:
        spec = DecoderSpec.model_validate_json((folder / DECODER_FILE).read_text("utf-8"))
        state = load_file(folder / WEIGHTS_FILE)
    except FileNotFoundError:
        raise ConfigError(
            f"the model in {folder} has no decoder, so it writes no captions; train one on captioned data with "
            "--training.decoder gru, or give another model"
        ) from None
    return with_weights(lambda: build_decoder(spec), state, folder / WEIGHTS_FILE, f"{spec.kind} decoder")

"""Dual encoders: an image tower and a text tower that were pre-trained jointly for comparable features."""

import math
from dataclasses import dataclass
from pathlib import Path

from mmer_core.encoders import huggingface
from mmer_core.encoders.adapters import AdapterSpec
from mmer_core.errors import EncoderError

# For dual encoders without a temperature: the initial value of CLIP's training.
_START = 1 / 0.07


@dataclass(frozen=True)
class Similarity:
    """How a dual encoder turns the cosine of an image and a text into a logit: ``scale * cosine + bias``."""

    scale: float
    bias: float


def dual_similarity(image: str, text: str) -> Similarity:
    """The similarity of the two towers of a dual encoder, from its weights; CLIP's initial one if it has none.

    Args:
        image, text: Names of the encoders.

    Raises:
        EncoderError: They are not the two towers of one dual encoder.
    """
    from safetensors import safe_open

    source, _, spec = image.partition(":")
    if image == text and source == "adapted":
        return _adapted(Path(spec))
    if image != text or source != "hf":
        raise EncoderError(
            f"{image} and {text} are not the two towers of one dual encoder, whose features can be compared without "
            "training; give one CLIP- or SigLIP-like model for both: hf:ID_OR_FOLDER"
        )
    found: dict[str, float] = {}
    for file in sorted(huggingface.resolve(spec).glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in {"logit_scale", "logit_bias"} & set(weights.keys()):
                found[name] = float(weights.get_tensor(name).float())
    scale = math.exp(found["logit_scale"]) if "logit_scale" in found else _START
    return Similarity(scale, found.get("logit_bias", 0.0))


def _adapted(folder: Path) -> Similarity:
    adapter = AdapterSpec.read(folder)
    if adapter.similarity is None:
        return dual_similarity(adapter.encoders.image, adapter.encoders.text)
    scale, bias = adapter.similarity
    return Similarity(math.exp(scale), bias)

"""``adapted:<folder>``: an encoder with the weights that ``mmer finetune`` made for it."""

from pathlib import Path
from typing import TypeVar

from mmer_core.encoders.adapters import AdapterSpec, Modality, apply_tower
from mmer_core.encoders.base import ImageEncoder, TextEncoder
from mmer_core.encoders.registry import encoder_identity, load_image_encoder, load_text_encoder, text_folder
from mmer_core.encoders.source import ImageSource, TextSource
from mmer_core.errors import EncoderError

_SUMMARY = "ADAPTER, what mmer finetune made"
E = TypeVar("E", ImageEncoder, TextEncoder)


class AdaptedImage(ImageSource):
    """The image tower of an adapter."""

    name = "adapted"
    summary = _SUMMARY

    def identity(self, spec: str) -> dict[str, str]:
        return AdapterSpec.read(Path(spec)).identity(Path(spec), "image")

    def load(self, spec: str, size: int | None) -> ImageEncoder:
        adapter = AdapterSpec.read(Path(spec))
        base = _checked(spec, adapter, "image")
        return _adapted(load_image_encoder(base, size or adapter.encoders.image_size), spec, adapter, "image")


class AdaptedText(TextSource):
    """The text tower of an adapter."""

    name = "adapted"
    summary = _SUMMARY

    def identity(self, spec: str) -> dict[str, str]:
        return AdapterSpec.read(Path(spec)).identity(Path(spec), "text")

    def load(self, spec: str) -> TextEncoder:
        adapter = AdapterSpec.read(Path(spec))
        return _adapted(load_text_encoder(_checked(spec, adapter, "text")), spec, adapter, "text")

    def folder(self, spec: str) -> Path:
        return text_folder(AdapterSpec.read(Path(spec)).encoders.text)


def _checked(folder: str, adapter: AdapterSpec, modality: Modality) -> str:
    """The name of the encoder that was adapted, if its weights are still the same."""
    base: str = getattr(adapter.encoders, modality)
    if encoder_identity(base, modality) != adapter.identities[modality]:
        raise EncoderError(
            f"{base} is not what the adapter {folder} was made for; fetch its former weights again"
        )
    return base


def _adapted(encoder: E, folder: str, adapter: AdapterSpec, modality: Modality) -> E:
    if modality in adapter.parts:
        apply_tower(encoder, Path(folder), adapter, modality)
    encoder.name = f"adapted:{folder}"
    return encoder

"""``adapted:<folder>``: an encoder with the weights that ``mmer finetune`` made for it."""

from pathlib import Path

from mmer_core.encoders.adapters import AdapterSpec, apply_tower
from mmer_core.encoders.base import ImageEncoder, TextEncoder
from mmer_core.encoders.registry import encoder_identity, load_image_encoder, load_text_encoder, text_folder
from mmer_core.encoders.source import ImageSource, TextSource
from mmer_core.errors import EncoderError

_SUMMARY = "ADAPTER, what mmer finetune made"


class AdaptedImage(ImageSource):
    """The image tower of an adapter."""

    name = "adapted"
    summary = _SUMMARY

    def identity(self, spec: str) -> dict[str, str]:
        return AdapterSpec.read(Path(spec)).identity(Path(spec), "image")

    def load(self, spec: str, size: int | None) -> ImageEncoder:
        adapter = AdapterSpec.read(Path(spec))
        base = adapter.encoders.image
        _check(spec, base, encoder_identity(base, "image") == adapter.identities["image"])
        encoder = load_image_encoder(base, size or adapter.encoders.image_size)
        if "image" in adapter.parts:
            apply_tower(encoder, Path(spec), adapter, "image")
        encoder.name = f"adapted:{spec}"
        return encoder


class AdaptedText(TextSource):
    """The text tower of an adapter."""

    name = "adapted"
    summary = _SUMMARY

    def identity(self, spec: str) -> dict[str, str]:
        return AdapterSpec.read(Path(spec)).identity(Path(spec), "text")

    def load(self, spec: str) -> TextEncoder:
        adapter = AdapterSpec.read(Path(spec))
        base = adapter.encoders.text
        _check(spec, base, encoder_identity(base, "text") == adapter.identities["text"])
        encoder = load_text_encoder(base)
        if "text" in adapter.parts:
            apply_tower(encoder, Path(spec), adapter, "text")
        encoder.name = f"adapted:{spec}"
        return encoder

    def folder(self, spec: str) -> Path:
        return text_folder(AdapterSpec.read(Path(spec)).encoders.text)


def _check(folder: str, base: str, same: bool) -> None:
    if not same:
        raise EncoderError(
            f"{base} is not what the adapter {folder} was made for; fetch its former weights again"
        )

"""Encoders by name: ``<source>:<spec>``, optionally prefixed with ``mirror:``, ``meanmax:``, ``regions:`` or ``tokens:``."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mmer_core.encoders import huggingface, packaged, places365, torchvision_models
from mmer_core.encoders.adapters import AdapterSpec, Modality, apply_tower
from mmer_core.encoders.base import ImageEncoder, TextEncoder
from mmer_core.encoders.config import bare_name
from mmer_core.encoders.meanmax import mean_and_max
from mmer_core.encoders.mirror import mirrored
from mmer_core.encoders.parts import GRID, TOKENS, by_region, by_token
from mmer_core.errors import EncoderError


class _Source(NamedTuple):
    identity: Callable[[str], dict[str, str]]
    load: Callable[..., ImageEncoder | TextEncoder]


_IMAGE: dict[str, _Source] = {
    "packaged": _Source(packaged.image_identity, packaged.load_image),
    "torchvision": _Source(torchvision_models.image_identity, torchvision_models.load_image),
    "places365": _Source(places365.identity, places365.load_image),
    "hf": _Source(
        huggingface.identity,
        lambda spec, size: huggingface.load_image_folder(f"hf:{spec}", huggingface.resolve(spec), size),
    ),
    "adapted": _Source(
        lambda spec: _adapted_identity(spec, "image"), lambda spec, size: _load_adapted(spec, "image", size)
    ),
    "mirror": _Source(
        lambda spec: {"views": "mirror", **encoder_identity(spec, "image")},
        lambda spec, size: mirrored(load_image_encoder(spec, size)),
    ),
    "regions": _Source(
        lambda spec: {"parts": f"{GRID}x{GRID}", **encoder_identity(spec, "image")},
        lambda spec, size: by_region(load_image_encoder(spec, size)),
    ),
}
_TEXT: dict[str, _Source] = {
    "packaged": _Source(packaged.text_identity, packaged.load_text),
    "hf": _Source(
        huggingface.identity,
        lambda spec: huggingface.load_text_folder(f"hf:{spec}", huggingface.resolve(spec)),
    ),
    "adapted": _Source(
        lambda spec: _adapted_identity(spec, "text"), lambda spec: _load_adapted(spec, "text")
    ),
    "meanmax": _Source(
        lambda spec: {"pooling": "meanmax", **encoder_identity(spec, "text")},
        lambda spec: mean_and_max(load_text_encoder(spec)),
    ),
    "tokens": _Source(
        lambda spec: {"parts": f"{TOKENS} tokens", **encoder_identity(spec, "text")},
        lambda spec: by_token(load_text_encoder(spec)),
    ),
}


_TEXT_FOLDERS: dict[str, Callable[[str], Path]] = {
    "packaged": packaged.text_folder,
    "hf": huggingface.resolve,
}


def load_image_encoder(name: str, size: int | None = None) -> ImageEncoder:
    """Load a frozen image encoder, on the CPU.

    Args:
        name: ``packaged:<name>``, ``torchvision:<arch>@<weights file>``, ``places365:<file>``,
            ``hf:<model id or folder>`` or ``adapted:<adapter folder>``; the prefix ``mirror:`` averages an
            image and its mirror image; ``regions:`` keeps its last feature map by region.
        size: Input side in pixels; the weights' native side if None.

    Raises:
        EncoderError: The name is unknown, or weights are missing or do not fit.
    """
    source, spec = _split(name, "image")
    return _IMAGE[source].load(spec, size)  # type: ignore[return-value]


def load_text_encoder(name: str) -> TextEncoder:
    """Load a frozen text encoder, on the CPU; ``packaged:<name>``, ``hf:<id or folder>`` or ``adapted:<folder>``.

    The prefix ``meanmax:`` uses the mean and maximum of its token states instead of its own pooling; ``tokens:`` keeps
    the states themselves.

    Raises:
        EncoderError: The name is unknown, or weights are missing or do not fit.
    """
    source, spec = _split(name, "text")
    return _TEXT[source].load(spec)  # type: ignore[return-value]


def text_folder(name: str) -> Path:
    """The local folder that holds a text encoder's tokenizer.

    Raises:
        EncoderError: The name is unknown, or the folder does not exist.
    """
    source, spec = _split(bare_name(name), "text")
    if source == "adapted":
        return text_folder(AdapterSpec.read(Path(spec)).encoders.text)
    return _TEXT_FOLDERS[source](spec)


def encoder_identity(name: str, modality: Modality) -> dict[str, str]:
    """What determines an encoder's features (versions, digests of weights), without loading it."""
    source, spec = _split(name, modality)
    return (_IMAGE if modality == "image" else _TEXT)[source].identity(spec)


def _adapted_identity(spec: str, modality: Modality) -> dict[str, str]:
    folder = Path(spec)
    return AdapterSpec.read(folder).identity(folder, modality)


def _load_adapted(spec: str, modality: Modality, size: int | None = None) -> ImageEncoder | TextEncoder:
    folder = Path(spec)
    adapter = AdapterSpec.read(folder)
    base = adapter.encoders.image if modality == "image" else adapter.encoders.text
    if encoder_identity(base, modality) != adapter.identities[modality]:
        raise EncoderError(
            f"{base} is not what the adapter {folder} was made for; fetch its former weights again"
        )
    encoder: ImageEncoder | TextEncoder
    if modality == "image":
        encoder = load_image_encoder(base, size or adapter.encoders.image_size)
    else:
        encoder = load_text_encoder(base)
    if modality in adapter.parts:
        apply_tower(encoder, folder, adapter, modality)
    encoder.name = f"adapted:{spec}"
    return encoder


def _split(name: str, modality: Modality) -> tuple[str, str]:
    source, _, spec = name.partition(":")
    sources = _IMAGE if modality == "image" else _TEXT
    if source not in sources or not spec:
        forms = ", ".join(f"{source}:<name>" for source in sources)
        raise EncoderError(f"unknown {modality} encoder {name!r}; use one of {forms}")
    return source, spec

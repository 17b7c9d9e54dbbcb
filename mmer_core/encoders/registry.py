"""Encoders by name: ``<source>:<what>``; ``mirror:`` and ``meanmax:`` stand in front of another encoder's name."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from mmer_core.encoders import huggingface, packaged, torchvision_models
from mmer_core.encoders.base import ImageEncoder, TextEncoder
from mmer_core.encoders.meanmax import mean_and_max
from mmer_core.encoders.mirror import mirrored
from mmer_core.errors import EncoderError

Modality = Literal["image", "text"]


class _Source(NamedTuple):
    identity: Callable[[str], dict[str, str]]
    load: Callable[..., ImageEncoder | TextEncoder]


_IMAGE: dict[str, _Source] = {
    "packaged": _Source(packaged.image_identity, packaged.load_image),
    "torchvision": _Source(torchvision_models.image_identity, torchvision_models.load_image),
    "hf": _Source(
        huggingface.identity,
        lambda spec, size: huggingface.load_image_folder(f"hf:{spec}", huggingface.resolve(spec), size),
    ),
    "mirror": _Source(
        lambda spec: {"views": "mirror", **encoder_identity(spec, "image")},
        lambda spec, size: mirrored(load_image_encoder(spec, size)),
    ),
}
_TEXT: dict[str, _Source] = {
    "packaged": _Source(packaged.text_identity, packaged.load_text),
    "hf": _Source(
        huggingface.identity,
        lambda spec: huggingface.load_text_folder(f"hf:{spec}", huggingface.resolve(spec)),
    ),
    "meanmax": _Source(
        lambda spec: {"pooling": "meanmax", **encoder_identity(spec, "text")},
        lambda spec: mean_and_max(load_text_encoder(spec)),
    ),
}


def load_image_encoder(name: str, size: int | None = None) -> ImageEncoder:
    """Load a frozen image encoder, on the CPU.

    Args:
        name: ``packaged:<name>``, ``torchvision:<arch>@<weights file>`` or ``hf:<model id or folder>``; with
            ``mirror:`` in front, the mean over an image and its mirror image.
        size: Input side in pixels; the weights' native side when None.

    Raises:
        EncoderError: The name is unknown, or weights are missing or do not fit.
    """
    source, spec = _split(name, "image")
    return _IMAGE[source].load(spec, size)  # type: ignore[return-value]


def load_text_encoder(name: str) -> TextEncoder:
    """Load a frozen text encoder, on the CPU; ``packaged:<name>`` or ``hf:<model id or folder>``.

    With ``meanmax:`` in front, mean and maximum of its token states in place of its own pooling.

    Raises:
        EncoderError: The name is unknown, or weights are missing or do not fit.
    """
    source, spec = _split(name, "text")
    return _TEXT[source].load(spec)  # type: ignore[return-value]


def encoder_identity(name: str, modality: Modality) -> dict[str, str]:
    """What decides an encoder's features (versions, digests of weights), without loading it."""
    source, spec = _split(name, modality)
    return (_IMAGE if modality == "image" else _TEXT)[source].identity(spec)


def _split(name: str, modality: Modality) -> tuple[str, str]:
    source, _, spec = name.partition(":")
    sources = _IMAGE if modality == "image" else _TEXT
    if source not in sources or not spec:
        forms = ", ".join(f"{source}:<name>" for source in sources)
        raise EncoderError(f"unknown {modality} encoder {name!r}; use one of {forms}")
    return source, spec

"""Encoders by name: ``<source>:<spec>``; some sources, such as ``mirror:`` and ``meanmax:``, wrap another encoder.

A new source is a new module of this package, with a subclass of `ImageSource`, `TextSource` or one of each.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from mmer_core.encoders.base import ImageEncoder, TextEncoder
from mmer_core.encoders.source import ImageSource, TextSource
from mmer_core.errors import EncoderError
from mmer_core.named import N, Registry

IMAGE_SOURCES: Registry[ImageSource] = Registry("image encoder", ImageSource, "mmer_core.encoders")
TEXT_SOURCES: Registry[TextSource] = Registry("text encoder", TextSource, "mmer_core.encoders")


def bare_name(encoder: str) -> str:
    """An encoder's name without what wraps it: another view or pooling, with the same weights."""
    source, _, inner = encoder.partition(":")
    for registry in (IMAGE_SOURCES, TEXT_SOURCES):
        if source in registry and registry[source].wraps:
            return bare_name(registry[source].inner(inner))
    return encoder


def wrappers(encoder: str) -> Iterator[type[ImageSource]]:
    """What wraps an image encoder, from outside in."""
    source, _, spec = encoder.partition(":")
    known = IMAGE_SOURCES.get(source)
    if known and known.wraps:
        yield known
        yield from wrappers(known.inner(spec))


def is_defended(encoder: str) -> bool:
    """Whether anything that wraps an image encoder is a defence."""
    return any(one.defends for one in wrappers(encoder))


def load_image_encoder(name: str, size: int | None = None) -> ImageEncoder:
    """Load a frozen image encoder, on the CPU.

    Args:
        name: ``<source>:<spec>``, by `IMAGE_SOURCES`.
        size: Input side in pixels; the weights' native side if None.

    Raises:
        EncoderError: The name is unknown, or weights are missing or do not fit.
    """
    source, spec = _split(name, IMAGE_SOURCES)
    return source.load(spec, size)


def load_text_encoder(name: str) -> TextEncoder:
    """Load a frozen text encoder, on the CPU; ``<source>:<spec>``, by `TEXT_SOURCES`.

    Raises:
        EncoderError: The name is unknown, or weights are missing or do not fit.
    """
    source, spec = _split(name, TEXT_SOURCES)
    return source.load(spec)


def text_folder(name: str) -> Path:
    """The local folder that holds a text encoder's tokenizer.

    Raises:
        EncoderError: The name is unknown, or the folder does not exist.
    """
    source, spec = _split(name, TEXT_SOURCES)
    return source.folder(spec)


def encoder_identity(name: str, modality: Literal["image", "text"]) -> dict[str, str]:
    """What determines an encoder's features (versions, digests of weights), without loading it."""
    if modality == "image":
        image, spec = _split(name, IMAGE_SOURCES)
        return image.identity(spec)
    text, spec = _split(name, TEXT_SOURCES)
    return text.identity(spec)


def _split(name: str, sources: Registry[N]) -> tuple[N, str]:
    source, _, spec = name.partition(":")
    if source not in sources or not spec:
        forms = ", ".join(f"{source}:<name>" for source in sources)
        raise EncoderError(f"unknown {sources.kind} {name!r}; use one of {forms}")
    return sources.make(source), spec

"""Where an encoder comes from, or what is done to another one: what stands before the colon of its name."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from mmer_core.encoders.base import ImageEncoder, TextEncoder
from mmer_core.errors import EncoderError
from mmer_core.named import Named


class Source(Named, ABC):
    """Base of both kinds; a concrete one declares itself as `Named` says. ``spec`` is what follows the colon.

    Attributes:
        wraps: Whether ``spec`` names another encoder, whose weights it has.
        defends: Whether what it does to that is a defence against attacks.
        random: Whether it sees pixels that are drawn anew for every image, so that a changed one changes which are seen.
    """

    refusal = EncoderError
    wraps: ClassVar[bool] = False
    defends: ClassVar[bool] = False
    random: ClassVar[bool] = False

    @staticmethod
    def inner(spec: str) -> str:
        """The name of the encoder that is wrapped."""
        return spec

    @abstractmethod
    def identity(self, spec: str) -> dict[str, str]:
        """What decides the features (versions, digests of weights), without loading anything."""


class ImageSource(Source):
    """Of image encoders."""

    @abstractmethod
    def load(self, spec: str, size: int | None) -> ImageEncoder:
        """The encoder, on the CPU; ``size`` is its input side, the native one when None."""


class TextSource(Source):
    """Of text encoders."""

    @abstractmethod
    def load(self, spec: str) -> TextEncoder:
        """The encoder, on the CPU."""

    @abstractmethod
    def folder(self, spec: str) -> Path:
        """The local folder that holds its tokenizer."""

"""``median:<encoder>`` and ``jpeg:<encoder>``: an image encoder behind a filter of its input, as a defence.

A number after the colon is the side of the median's window, 3 by default, or the quality of the JPEG, 75 by default:
``median:5:packaged:efficientnet_lite0``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from mmer_core.encoders.base import ImageEncoder, Preprocessing
from mmer_core.encoders.parts import parts
from mmer_core.encoders.registry import encoder_identity, load_image_encoder
from mmer_core.encoders.source import ImageSource
from mmer_core.errors import EncoderError
from mmer_core.heavy import nn


class Filter(ImageSource):
    """Base of the filters.

    Attributes:
        default: The number where none is given.
    """

    wraps = True
    defends = True
    default: ClassVar[int]

    @staticmethod
    def inner(spec: str) -> str:
        number, _, rest = spec.partition(":")
        return rest if number.isdecimal() else spec

    def identity(self, spec: str) -> dict[str, str]:
        return {"filter": f"{self.name} {self.number(spec)}", **encoder_identity(self.inner(spec), "image")}

    def load(self, spec: str, size: int | None) -> ImageEncoder:
        from mmer_core.encoders.networks.filters import Filtered

        number, inner = self.number(spec), load_image_encoder(self.inner(spec), size)
        if parts(inner.name) > 1:
            raise EncoderError(
                f"{inner.name} has features of regions; name it the other way round: regions:{self.name}:..."
            )
        module = Filtered(inner.module, self.network(number, inner.preprocessing))
        return ImageEncoder(f"{self.name}:{number}:{inner.name}", module, inner.preprocessing, inner.width)

    def number(self, spec: str) -> int:
        """What stands before the wrapped encoder, or the default. Raises `EncoderError` if it cannot be used."""
        inner = self.inner(spec)
        number = self.default if inner == spec else int(spec.partition(":")[0])
        if fault := self.fault(number):
            raise EncoderError(f"{self.name}:{number}:{inner}: {fault}")
        return number

    @abstractmethod
    def fault(self, number: int) -> str:
        """What is wrong with a number; empty if nothing is."""

    @abstractmethod
    def network(self, number: int, preprocessing: Preprocessing) -> nn.Module:
        """Maps the encoder's normalised input ``(B, 3, H, W)`` to the same shape."""


class MedianFilter(Filter):
    """Each pixel is the median of its neighbourhood."""

    name = "median"
    summary = "[SIDE:]ENCODER, sees each pixel as the median of SIDE x SIDE, 3 by default; a defence"
    default = 3

    def fault(self, number: int) -> str:
        return "" if number in (3, 5, 7) else "a median is of 3, 5 or 7 pixels a side"

    def network(self, number: int, preprocessing: Preprocessing) -> nn.Module:
        from mmer_core.encoders.networks.filters import Median

        return Median(number)


class JpegFilter(Filter):
    """Images are compressed, and read again."""

    name = "jpeg"
    summary = "[QUALITY:]ENCODER, sees images after JPEG of a QUALITY, 75 by default; a defence"
    default = 75

    def fault(self, number: int) -> str:
        return "" if 1 <= number <= 100 else "the quality of a JPEG is 1 to 100"

    def network(self, number: int, preprocessing: Preprocessing) -> nn.Module:
        from mmer_core.encoders.networks.filters import Jpeg

        return Jpeg(number, preprocessing.mean, preprocessing.std)

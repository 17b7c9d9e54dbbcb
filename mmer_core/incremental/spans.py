"""How far a change at one coordinate reaches, along one axis of one feature map.

All of this is integer arithmetic at planning time, for all input coordinates at once, so that at run time a
pixel's window is a table look-up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CONSTANT = "constant"
"""How a map is padded: with one number. The other modes of ``torch.nn.functional.pad`` repeat numbers of the map."""


@dataclass(frozen=True, eq=False)
class Span:
    """For each input coordinate, the interval of this axis that a change there can influence.

    All intervals have the same size and lie within the map; at the border, and depending on strides, they
    are larger than necessary, which costs time but not exactness.

    Attributes:
        extent: Length of the axis of this map.
        size: Length of each interval, 1 to ``extent``.
        origins: ``(S,)`` int32, first coordinate of the interval for each of the input's ``S`` coordinates.
    """

    extent: int
    size: int
    origins: Tensor

    def enlarged(self, times: int) -> "Span":
        """The same where each coordinate has become several."""
        return Span(times * self.extent, times * self.size, times * self.origins)


@dataclass(frozen=True)
class Reach:
    """What a convolution or pooling reads along one axis.

    Attributes:
        kernel, stride, dilation: As in ``torch.nn.Conv2d``.
        before, after: Padding on the two sides.
    """

    kernel: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def width(self) -> int:
        """Receptive field: coordinates from the first to the last that one output reads, inclusive."""
        return (self.kernel - 1) * self.dilation + 1

    def extent(self, length: int) -> int:
        """Number of outputs along an axis of this length."""
        return (length + self.before + self.after - self.width) // self.stride + 1

    def read(self, outputs: int) -> int:
        """Number of coordinates that this many neighbouring outputs read."""
        return (outputs - 1) * self.stride + self.width


def whole(length: int, where: torch.device) -> Span:
    """The span of the input itself: a pixel influences only itself."""
    return Span(length, 1, torch.arange(length, dtype=torch.int32, device=where))


def repeated(length: int, before: int, after: int, mode: str) -> Tensor:
    """``(before + length + after,)`` int32: which coordinate of an axis each one of the padded axis repeats."""
    own = torch.arange(length, dtype=torch.float64)[None]
    return F.pad(own, (before, after), mode).flatten().to(torch.int32)


def grow(span: Span, reach: Reach, mode: str = CONSTANT) -> Span:
    """The span after a layer: all outputs that read any coordinate of ``span``, or a repetition of one in the padding."""
    first, last = (
        span.origins + reach.before,
        span.origins + span.size - 1 + reach.before,
    )  # in padded coordinates
    if mode != CONSTANT:
        own = repeated(span.extent, reach.before, reach.after, mode).to(first.device)
        inside = (own >= span.origins[:, None]) & (own < span.origins[:, None] + span.size)
        place = torch.arange(len(own), dtype=torch.int32, device=first.device)
        first, last = torch.where(inside, place, len(own)).amin(1), torch.where(inside, place, -1).amax(1)
    first = -((reach.width - 1 - first) // reach.stride)  # rounded up
    return _cover(first, last // reach.stride, reach.extent(span.extent))


def unite(spans: Sequence[Span]) -> Span:
    """The span of a combination of several maps of the same size."""
    if len(spans) == 1:
        return spans[0]
    first = torch.stack([span.origins for span in spans]).amin(0)
    last = torch.stack([span.origins + span.size - 1 for span in spans]).amax(0)
    return _cover(first, last, spans[0].extent)


def _cover(first: Tensor, last: Tensor, extent: int) -> Span:
    """Intervals of equal size that contain ``first`` to ``last``, clipped to the map."""
    first, last = first.clamp(0, extent - 1), last.clamp(0, extent - 1)
    size = max(1, int((last - first).max()) + 1)
    return Span(extent, size, first.clamp(max=extent - size))

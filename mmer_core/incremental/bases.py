"""Images with pixels written into them, which many candidates in turn differ from in few pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_COLOUR = 24  # bits


@dataclass(frozen=True, eq=False)
class Base:
    """What is written into the images of ``B`` candidates before they change a few pixels.

    Attributes:
        before: ``(B, K)`` int64, pixels as `coded` gives them, of different places; the same for all candidates of an image.
        after: ``(B, K)``, what the candidates make of them: the base of that image if a search goes on from there.
        usual: How many of the ``K`` most candidates change.
    """

    before: Tensor
    after: Tensor
    usual: int

    def mirrored(self, width: int) -> Base:
        """The same in mirror images of this width."""
        return Base(_mirrored(self.before, width), _mirrored(self.after, width), self.usual)


def coded(places: Tensor, colours: Tensor) -> Tensor:
    """Pixels as numbers, int64, that are equal where places ``(...)`` and colours ``(..., 3)`` are."""
    red, green, blue = colours.long().unbind(dim=-1)
    return places << _COLOUR | red << 16 | green << 8 | blue


def write(image: Tensor, pixels: Tensor) -> Tensor:
    """``image`` ``(H, W, 3)`` uint8 with pixels ``(K,)`` written into a copy."""
    found = image.clone()
    colours = torch.stack([pixels >> bits & 255 for bits in (16, 8, 0)], dim=-1)
    found.view(-1, 3)[pixels >> _COLOUR] = colours.to(image.dtype)
    return found


def _mirrored(pixels: Tensor, width: int) -> Tensor:
    return pixels + ((width - 1 - 2 * ((pixels >> _COLOUR) % width)) << _COLOUR)


@dataclass(frozen=True, eq=False)
class ScoredPass:
    """The candidates of a pass, and the windows that they were scored by.

    Attributes:
        after: ``(B, K)``, the bases that the candidates would be.
        pixels: ``(B, P, 2)`` int32, what they changed.
        windows: ``(B, P * h * w, C)`` each.
    """

    after: Tensor
    pixels: Tensor
    windows: Sequence[Tensor]

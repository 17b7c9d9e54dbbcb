"""How a network holds a map: channels first, last or in several dimensions, positions in rows and columns or all in one row.

Windows are ``(B, C, h, w)`` everywhere; only what works on the network's own arrangement sees theirs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True)
class Arrangement:
    """Of a map ``(B, C, H, W)``.

    Attributes:
        kept: The dimensions of the batch, and of rows and columns or of all positions.
        channels: The lengths of all other dimensions, whose product is ``C``.
        size: ``(H, W)``.
    """

    kept: tuple[int, ...]
    channels: tuple[int, ...]
    size: tuple[int, int]

    @property
    def dims(self) -> int:
        """Number of dimensions."""
        return len(self.kept) + len(self.channels)

    @property
    def is_first(self) -> bool:
        """Whether it is ``(B, C, H, W)``."""
        return self.kept == (0, 2, 3) and self.dims == 4

    @property
    def is_last(self) -> bool:
        """Whether the last dimension is one of channels."""
        return self.dims - 1 not in self.kept

    @property
    def positions(self) -> dict[int, int]:
        """Their dimensions, and the length of each."""
        lengths = self.size if len(self.kept) == 3 else (self.size[0] * self.size[1],)
        return dict(zip(self.kept[1:], lengths, strict=True))

    def fits(self, other: "Arrangement") -> bool:
        """Whether batch and positions are in the same dimensions of as many."""
        return replace(self, channels=()) == replace(other, channels=()) and self.dims == other.dims

    def of_shape(self, shape: Sequence[int]) -> "Arrangement":
        """The same with as many channels as a tensor of this shape has."""
        return replace(
            self, channels=tuple(length for dim, length in enumerate(shape) if dim not in self.kept)
        )

    def of(self, maps: Tensor) -> Tensor:
        """Maps or windows ``(B, C, h, w)`` in this arrangement."""
        split = maps.unflatten(1, self.channels) if self.channels else maps.squeeze(1)
        split = split.flatten(-2) if len(self.kept) == 2 else split
        return split.permute([self._order.index(dim) for dim in range(self.dims)])

    def back(self, arranged: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """The other way round, for windows of another ``size`` than the map."""
        split = arranged.permute(self._order)
        split = split.unflatten(-1, torch.Size(size or self.size)) if len(self.kept) == 2 else split
        return split.flatten(1, len(self.channels)) if self.channels else split.unsqueeze(1)

    @property
    def _order(self) -> list[int]:
        """The dimensions in the order of those of windows."""
        others = (dim for dim in range(self.dims) if dim not in self.kept)
        return [self.kept[0], *others, *self.kept[1:]]


def first(shape: Sequence[int]) -> Arrangement:
    """That of a map of this shape, ``(B, C, H, W)``."""
    return Arrangement((0, 2, 3), (shape[1],), (shape[2], shape[3]))


def arrangements(shape: Sequence[int], of: Sequence[int]) -> Iterator[Arrangement]:
    """Those that a tensor of this shape may have, if it has the numbers of a map ``of`` this one, or of blocks of its positions."""
    if len(shape) == 4:
        yield first(shape)
        yield Arrangement((0, 1, 2), (shape[3],), (shape[1], shape[2]))
    batch, _, *size = of
    for lengths in ([batch, *size], [batch, prod(size)]):
        for kept in permutations(range(len(shape)), len(lengths)):
            if [shape[dim] for dim in kept] == lengths:
                yield Arrangement(kept, (), (size[0], size[1])).of_shape(shape)


def inside(
    call: Callable[..., Tensor], inputs: Sequence[Arrangement], output: Arrangement
) -> Callable[..., Tensor]:
    """A function of arranged maps as one of windows ``(B, C, h, w)``."""
    if output.is_first and all(each.is_first for each in inputs):
        return call

    def apply(*windows: Tensor) -> Tensor:
        given = (one.of(each) for one, each in zip(inputs, windows, strict=True))
        return output.back(call(*given), windows[0].shape[2:])

    return apply

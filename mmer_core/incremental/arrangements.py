"""How a network holds a map: its channels first or last, its positions in rows and columns or all in one row.

Windows are ``(B, C, h, w)`` everywhere; only what works on the network's own arrangement sees theirs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Arrangement:
    """Of a map of ``C`` channels.

    Attributes:
        dims: 4 with rows and columns; 3 with all positions in one row, as transformers have tokens.
        channels: The dimension of the channels, behind that of the batch.
        size: ``(H, W)`` of the map.
    """

    dims: int
    channels: int
    size: tuple[int, int]

    @property
    def across(self) -> tuple[int, ...]:
        """The dimensions of the positions."""
        return tuple(dim for dim in range(1, self.dims) if dim != self.channels)

    @property
    def positions(self) -> tuple[int, ...]:
        """Their lengths."""
        return self.size if self.dims == 4 else (self.size[0] * self.size[1],)

    @property
    def is_first(self) -> bool:
        """Whether it is ``(B, C, H, W)``."""
        return (self.dims, self.channels) == (4, 1)

    @property
    def is_last(self) -> bool:
        """Whether layers for the last dimension work on channels."""
        return self.channels == self.dims - 1

    def of(self, maps: Tensor) -> Tensor:
        """Maps or windows ``(B, C, h, w)`` in this arrangement."""
        return (maps.flatten(2) if self.dims == 3 else maps).movedim(1, self.channels)

    def back(self, arranged: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """The other way round, for windows of another ``size`` than the map."""
        first = arranged.movedim(self.channels, 1)
        return first.unflatten(2, torch.Size(size or self.size)) if self.dims == 3 else first

    def inside(self, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A function of arranged maps as one of windows."""
        return lambda *windows: self.back(call(*map(self.of, windows)), windows[0].shape[2:])


def arrangements(shape: Sequence[int], size: tuple[int, int]) -> list[Arrangement]:
    """Those that a tensor of this shape may have.

    Args:
        size: ``(H, W)`` of the map, if the tensor has all positions in one row.
    """
    if len(shape) == 4:
        return [Arrangement(4, 1, (shape[2], shape[3])), Arrangement(4, 3, (shape[1], shape[2]))]
    if len(shape) == 3:
        return [Arrangement(3, dim, size) for dim in (2, 1) if shape[3 - dim] == size[0] * size[1]]
    return []

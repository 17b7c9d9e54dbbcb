"""Chains of ``view``, ``permute`` and the like, which only move numbers about: understood by following every number.

So a channel shuffle, a space-to-depth or its inverse may be written with any views in between.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

_RESHAPING = frozenset(
    {
        *("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "contiguous", "clone"),
        *(torch.reshape, torch.flatten, torch.unflatten, torch.squeeze, torch.unsqueeze, torch.clone),
    }
)
_PERMUTING = frozenset(
    {
        *("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis"),
        *(torch.permute, torch.transpose, torch.swapaxes, torch.swapdims, torch.movedim, torch.moveaxis),
    }
)


@dataclass(frozen=True, eq=False)
class Moved:
    """A tensor with the numbers of a map in other places.

    Attributes:
        origin: The map.
        numbers: int64, which of the numbers of the map, ``(B, C, H, W)`` counted in order, is in each place.
    """

    origin: str
    numbers: Tensor


@dataclass(frozen=True, eq=False)
class Regrouping:
    """A map whose positions are those of another, or blocks of ``side x side`` of them.

    Attributes:
        shrinks: The side of the blocks of positions that became channels of one position; 1 where none did.
        enlarges: The side of the blocks that the channels of one position became.
        order: ``(C,)``, the channels in the order in which they are taken: after the first, before the second. None where
            it is their own.
    """

    shrinks: int
    enlarges: int
    order: Tensor | None

    @property
    def changes_nothing(self) -> bool:
        """Whether the map is the other one."""
        return self.shrinks == self.enlarges == 1 and self.order is None

    def __call__(self, maps: Tensor) -> Tensor:
        """The map of the other, ``(B, C, h, w)``."""
        if self.shrinks > 1:
            maps = F.pixel_unshuffle(maps, self.shrinks)
        if self.order is not None:
            maps = maps[:, self.order]
        return F.pixel_shuffle(maps, self.enlarges) if self.enlarges > 1 else maps


def counted(shape: torch.Size) -> Tensor:
    """The numbers of a map's numbers."""
    return torch.arange(shape.numel()).view(shape)


def moved(node: fx.Node, numbers: Tensor, shapes: Mapping[str, torch.Size]) -> Tensor | None:
    """``numbers`` where a node moves them; None if it does something else."""
    if node.target in _RESHAPING:
        return numbers.reshape(shapes[node.name])  # its arguments may hold the size of the batch
    if node.target in _PERMUTING and node.op in ("call_function", "call_method"):
        args, named = node.args[1:], dict(node.kwargs)
        named.pop("input", None)
        call: Callable[..., Tensor] = (
            operator.methodcaller(node.target, *args, **named)
            if isinstance(node.target, str)
            else lambda first: node.target(first, *args, **named)  # type: ignore[operator]
        )
        return call(numbers)
    return numbers.mT if node.target is getattr and node.args[1] == "mT" else None


def regrouped(numbers: Tensor, shape: torch.Size) -> Regrouping | None:
    """How a map ``(B, C', H', W')`` of the numbers of another, of this shape, is made of it by position; None if it is not."""
    side = _side(shape, numbers.shape)
    if side is not None and (order := _order(F.pixel_unshuffle(counted(shape), side), numbers)) is not None:
        return Regrouping(side, 1, _unless_own(order))
    side = _side(numbers.shape, shape)
    if side is not None and (order := _order(counted(shape), F.pixel_unshuffle(numbers, side))) is not None:
        return Regrouping(1, side, _unless_own(order))
    return None


def _side(large: Any, small: Any) -> int | None:
    """The side of the blocks of positions of one map that are positions of another with as many numbers."""
    if len(small) != 4 or small[0] != large[0]:
        return None
    side: int = large[2] // small[2]
    fits = large[2:] == torch.Size([side * small[2], side * small[3]])
    return side if side and fits and small[1] == large[1] * side * side else None


def _order(numbers: Tensor, wanted: Tensor) -> Tensor | None:
    """The channels of one map that are those of another, in order; None if there are none."""
    place = {int(number): channel for channel, number in enumerate(numbers[0, :, 0, 0])}
    order = [place.get(int(number), -1) for number in wanted[0, :, 0, 0]]
    if -1 in order or not torch.equal(numbers[:, order], wanted):
        return None
    return torch.tensor(order)


def _unless_own(order: Tensor) -> Tensor | None:
    return None if torch.equal(order, torch.arange(len(order))) else order

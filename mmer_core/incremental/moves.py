"""Chains of ``view``, ``permute`` and the like, which only move numbers about: understood by following every number.

So a channel shuffle, a space-to-depth or its inverse may be written with any views in between.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from mmer_core.incremental.tracer import called

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
        own: ``(B, C, H, W)`` int32, the numbers of the map, counted in order.
        numbers: Which of them is in each place.
    """

    origin: str
    own: Tensor
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
    """The numbers of a map, each its place in order."""
    return torch.arange(shape.numel(), dtype=torch.int32).view(shape)


def moved(node: fx.Node, numbers: Tensor, shapes: Mapping[str, torch.Size]) -> Tensor | None:
    """``numbers`` where a node moves them, or repeats or leaves out some; None if it does something else."""
    target = called(node)
    if target in _RESHAPING:
        return numbers.reshape(shapes[node.name])  # its arguments may hold the size of the batch
    if target == "expand":
        return numbers.expand(shapes[node.name])
    if target in _PERMUTING:
        args, named = node.args[1:], dict(node.kwargs)
        named.pop("input", None)
        call: Callable[..., Tensor] = (
            operator.methodcaller(target, *args, **named)
            if isinstance(target, str)
            else lambda first: target(first, *args, **named)
        )
        return call(numbers)
    index: Any = node.args[1] if len(node.args) > 1 else None
    if target is operator.getitem and not any(isinstance(each, fx.Node) for each in tree_leaves(index)):
        return numbers[index]
    return None


def regrouped(numbers: Tensor, own: Tensor, where: torch.device) -> Regrouping | None:
    """How a map ``(B, C', H', W')`` of the numbers of another is made of it by position; None if it is not.

    Args:
        own: The other's numbers, `counted`.
        where: The device of the maps.
    """
    shape = own.shape
    if numbers.data_ptr() == own.data_ptr() and (numbers.shape, numbers.stride()) == (shape, own.stride()):
        return Regrouping(1, 1, None)  # the same memory: nothing to compare
    side = _side(shape, numbers.shape)
    if side is not None and (order := _order(F.pixel_unshuffle(own, side), numbers)) is not None:
        return Regrouping(side, 1, _unless_own(order, side * side * shape[1], where))
    side = _side(numbers.shape, shape)
    if side is not None and (order := _order(own, F.pixel_unshuffle(numbers, side))) is not None:
        return Regrouping(1, side, _unless_own(order, shape[1], where))
    return None


def _side(large: Sequence[int], small: Sequence[int]) -> int | None:
    """The side of the blocks of positions of one map that are the positions of another."""
    if len(large) != 4 or len(small) != 4 or small[0] != large[0]:
        return None
    side = large[2] // small[2]
    return side if side and tuple(large[2:]) == (side * small[2], side * small[3]) else None


def _order(numbers: Tensor, wanted: Tensor) -> list[int] | None:
    """The channels of one map that are those of another, in order; None if there are none."""
    place = {number: channel for channel, number in enumerate(numbers[0, :, 0, 0].tolist())}
    order = [place.get(number, -1) for number in wanted[0, :, 0, 0].tolist()]
    return order if -1 not in order and torch.equal(numbers[:, order], wanted) else None


def _unless_own(order: list[int], channels: int, where: torch.device) -> Tensor | None:
    return None if order == [*range(channels)] else torch.tensor(order, device=where)

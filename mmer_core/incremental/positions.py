"""Whether what a node of a network computes at a position depends on that position of its inputs alone.

Functions are looked at by the ATen operations that they run, of which there are few, and which PyTorch tags where they work on
each number by itself: so ``x ** 2``, ``torch.where`` and a layer norm over channels that is written by hand need no rule each.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmer_core.incremental.arrangements import Arrangement

_aten: Any = torch.ops.aten
_EACH_NUMBER = {
    *(_aten._to_copy, _aten.alias, _aten.detach, _aten.lift_fresh, _aten.prelu, _aten._prelu_kernel),
    *(_aten.hardswish, _aten.hardswish_, _aten.log_sigmoid_forward, _aten.copy_, _aten.fill_),
    *(_aten.empty_like, _aten.zeros_like, _aten.ones_like, _aten.full_like),
}
"""Operations on each number by itself that PyTorch does not tag as such."""
_ALONG = {
    *(_aten.mean, _aten.sum, _aten.prod, _aten.amax, _aten.amin, _aten.max, _aten.min, _aten.logsumexp),
    *(_aten.var, _aten.var_mean, _aten.std, _aten.std_mean, _aten.linalg_vector_norm, _aten.norm),
    *(_aten._softmax, _aten._log_softmax, _aten.glu, _aten.cumsum, _aten.slice, _aten.index_select),
    *(_aten.flip, _aten.roll, _aten.split, _aten.split_with_sizes, _aten.cat),
}
"""Operations along the dimensions that they are given."""
_OF_CHANNELS = {_aten.channel_shuffle, _aten.native_channel_shuffle}
"""Operations on the second dimension."""
_SHAPED = {_aten.expand, _aten.repeat, _aten.view, _aten._unsafe_view, _aten.reshape}
"""Operations that leave positions where they are if the map has as many along each axis before and after."""


class _NotByPosition(Exception):
    """An operation mixes positions."""


def by_position(call: Callable[..., Any], maps: Sequence[Tensor], arranged: Arrangement) -> Any:
    """What ``call`` gives for ``maps``, a map or several, if each position of these depends on that position alone; else None.

    Args:
        call: A deterministic function of the maps.
        maps: Examples of its arguments, whose numbers do not matter.
        arranged: How these are.
    """
    watch = _Watch(maps, arranged)
    if not all(map(watch.is_map, maps)):  # one number for many positions
        return None
    try:
        with torch.no_grad(), watch:
            found = call(*maps)
    except Exception:  # `_NotByPosition`, or whatever a function raises for these numbers
        return None
    leaves = tree_leaves(found)
    return found if leaves and all(map(watch.is_map, leaves)) else None


def at_positions(constant: Tensor, arranged: Arrangement) -> Tensor | None:
    """A constant that differs between the positions of a map, as such a map ``(1, ...)`` with the channels it has: such as coordinates,
    or an embedding of positions. None if it does not, or has no positions of this map."""
    if constant.ndim > arranged.dims:
        return None
    spread = constant.reshape(*[1] * (arranged.dims - constant.ndim), *constant.shape)
    sizes = list(spread.shape)
    for dim, length in zip(arranged.across, arranged.positions, strict=True):
        if sizes[dim] not in (1, length):
            return None
        sizes[dim] = length
    if len(spread) != 1 or all(spread.shape[dim] == 1 for dim in arranged.across):
        return None
    return spread.expand(sizes)


class _Watch(TorchDispatchMode):
    """Raises `_NotByPosition` at the first operation on a map that mixes positions."""

    def __init__(self, maps: Sequence[Tensor], arranged: Arrangement) -> None:
        super().__init__()
        self._dims, self._channels, self._across = arranged.dims, arranged.channels, arranged.across
        self._positions = tuple(maps[0].shape[dim] for dim in (0, *self._across))
        # Of what is made of the maps; kept, so that no other tensor gets the same id.
        self._made = {id(each): each for each in maps}

    def is_map(self, value: Any) -> bool:
        """Whether it is made of the maps and has their positions."""
        return isinstance(value, Tensor) and id(value) in self._made and self._has_positions(value)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation that keeps to positions."""
        given = kwargs or {}
        tensors = [each for each in tree_leaves((args, given)) if isinstance(each, Tensor)]
        made = [each for each in tensors if id(each) in self._made]
        if made and not self._keeps_to_positions(func, args, given, tensors, made):
            raise _NotByPosition
        found = func(*args, **given)
        if made:
            outputs = [each for each in tree_leaves(found) if isinstance(each, Tensor)]
            if not all(map(self._has_positions, outputs)):
                raise _NotByPosition
            self._made |= {id(each): each for each in outputs}
        return found

    def _has_positions(self, value: Tensor) -> bool:
        return (
            value.ndim == self._dims
            and tuple(value.shape[dim] for dim in (0, *self._across)) == self._positions
        )

    def _keeps_to_positions(
        self, func: Any, args: Any, given: dict[str, Any], tensors: Sequence[Tensor], made: Sequence[Tensor]
    ) -> bool:
        """Of an operation on maps, if its outputs have their positions."""
        named = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | given
        kind = func.overloadpacket
        if torch.Tag.nondeterministic_seeded in func.tags:
            return False
        if torch.Tag.pointwise in func.tags or kind in _EACH_NUMBER:
            return all(id(each) in self._made or self._uniform(each) for each in tensors)
        if kind in _ALONG:
            dims = named.get("dim", named.get("dims"))
            along = dims if isinstance(dims, list | tuple) else [dims]
            alone = len(made) == len(tensors) or kind is _aten.index_select
            return alone and bool(along) and all(self._of_channels(dim) for dim in along)
        if kind is _aten.index:
            indices = named["indices"]
            chosen = [at for at, index in enumerate(indices) if index is not None]
            return chosen == [self._channels] and id(indices[chosen[0]]) not in self._made
        if kind is _aten.constant_pad_nd:  # of channels
            return self._channels == 1 and not any(named["pad"][: 2 * len(self._across)])
        return kind in _SHAPED or (kind in _OF_CHANNELS and self._channels == 1)

    def _of_channels(self, dim: int | None) -> bool:
        return dim is not None and dim % self._dims == self._channels

    def _uniform(self, constant: Tensor) -> bool:
        """Whether a tensor beside a map is the same at all of its positions, and for all images."""
        before = self._dims - constant.ndim
        return before >= 0 and all(
            dim < before or constant.shape[dim - before] == 1 for dim in (0, *self._across)
        )

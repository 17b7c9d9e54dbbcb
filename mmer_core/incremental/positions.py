"""Whether what a node of a network computes at a position depends on that position of its inputs alone.

Functions are looked at by the ATen operations that they run, of which there are few, and which PyTorch tags where they work on
each number by itself: so ``x ** 2``, ``torch.where`` and a layer norm over channels that is written by hand need no rule each.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmer_core.incremental.arrangements import Arrangement
from mmer_core.incremental.products import Dims, read_product

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
    *(_aten.argmax, _aten.argmin, _aten.topk, _aten.sort, _aten.median, _aten.kthvalue, _aten.cumprod),
    *(_aten.flip, _aten.roll, _aten.split, _aten.split_with_sizes, _aten.cat, _aten.select, _aten.unbind),
}
"""Operations along the dimensions that they are given, which may leave these out."""
_INSERTING = {_aten.stack, _aten.unsqueeze}
"""Operations that insert the dimension that they are given."""
_OF_CHANNELS = {_aten.channel_shuffle, _aten.native_channel_shuffle}
"""Operations on the second dimension."""
_NORMS = {_aten.native_batch_norm, _aten._native_batch_norm_legit_no_training, _aten.cudnn_batch_norm}
"""Of each number with what was measured of its channel in training, the second dimension; beside it they give what they read of it."""
_REPEATING = {_aten.expand, _aten.repeat}
"""Operations that leave positions where they are if the map has as many along each axis before and after."""
_VIEWING = {_aten.view, _aten._unsafe_view, _aten.reshape}
"""Operations that leave positions where they are if the map has the same shape before and after."""


class _NotByPosition(Exception):
    """An operation mixes positions."""


class Found(NamedTuple):
    """What a function gave for maps.

    Attributes:
        value: A tensor, or several.
        arranged: How each of these is a map.
        multiply_adds: Per number of these.
    """

    value: Any
    arranged: list[Arrangement]
    multiply_adds: int


def by_position(
    call: Callable[..., Any], maps: Sequence[Tensor], arranged: Sequence[Arrangement]
) -> Found | None:
    """What ``call`` gives for ``maps``, if it is maps of which each position depends on that position of these alone; else None.

    Args:
        call: A deterministic function of the maps.
        maps: Examples of its arguments, whose numbers do not matter.
        arranged: How each of these is; batch and positions are in the same dimensions of all.
    """
    watch = _Watch(maps, arranged)
    if not all(map(watch.is_map, maps)):  # one number for many positions
        return None
    try:
        with torch.no_grad(), watch, _Products(watch):
            found = call(*maps)
    except Exception:  # `_NotByPosition`, or whatever a function raises for these numbers
        return None
    leaves = tree_leaves(found)
    if not leaves or not all(map(watch.is_map, leaves)):
        return None
    return Found(found, [watch.arrangement(each) for each in leaves], watch.multiply_adds)


def at_positions(constant: Tensor, arranged: Arrangement) -> Tensor | None:
    """A constant that differs between the positions of a map, as such a map ``(1, ...)`` with the channels it has: such as coordinates,
    or an embedding of positions. None if it does not, or has no positions of this map."""
    if constant.ndim > arranged.dims:
        return None
    spread = constant.reshape(*[1] * (arranged.dims - constant.ndim), *constant.shape)
    sizes = [arranged.positions.get(dim, length) for dim, length in enumerate(spread.shape)]
    fits = all(own in (1, length) for own, length in zip(spread.shape, sizes, strict=True))
    everywhere = all(spread.shape[dim] == 1 for dim in arranged.positions)
    return spread.expand(sizes) if fits and not everywhere and spread.shape[arranged.kept[0]] == 1 else None


class _Watch(TorchDispatchMode):
    """Raises `_NotByPosition` at the first operation on a map that mixes positions, or images."""

    def __init__(self, maps: Sequence[Tensor], arranged: Sequence[Arrangement]) -> None:
        super().__init__()
        self._size, kept = arranged[0].size, arranged[0].kept
        self._lengths = [maps[0].shape[dim] for dim in kept]
        # Of what is made of the maps, the dimensions of batch and positions; with it, so that no other tensor gets its id.
        self._made = {id(each): (each, kept) for each in maps}
        self._reads = True
        self.multiply_adds = 1

    def kept(self, value: Any) -> Dims | None:
        """The dimensions of batch and positions of what is made of the maps, None of what is not."""
        return self._made[id(value)][1] if id(value) in self._made else None

    def computed(self, product: Callable[[], Tensor], kept: Dims, multiply_adds: int) -> Tensor:
        """A product whose operations need not be looked at."""
        self._reads = False
        try:
            found = product()
        finally:
            self._reads = True
        self._made[id(found)] = found, kept
        self.multiply_adds += multiply_adds
        if not self.is_map(found):
            raise _NotByPosition
        return found

    def is_map(self, value: Any) -> bool:
        """Whether it is made of the maps and has their positions."""
        if not isinstance(value, Tensor) or id(value) not in self._made:
            return False
        kept = self._made[id(value)][1]
        return max(kept) < value.ndim and [value.shape[dim] for dim in kept] == self._lengths

    def arrangement(self, value: Tensor) -> Arrangement:
        """How a map is arranged."""
        return Arrangement(self._made[id(value)][1], (), self._size).of_shape(value.shape)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation that keeps to positions."""
        given = kwargs or {}
        tensors = [each for each in tree_leaves((args, given)) if isinstance(each, Tensor)]
        made = [each for each in tensors if id(each) in self._made]
        constants = [each for each in tensors if id(each) not in self._made]
        if not made or not self._reads:
            return func(*args, **given)
        several = {(each.ndim, self._made[id(each)][1]) for each in made}
        if len(several) > 1 or torch.Tag.nondeterministic_seeded in func.tags:
            raise _NotByPosition
        ((dims, kept),) = several
        schema = func._schema.arguments
        named = {each.name: each.default_value for each in schema if each.has_default_value()}
        named |= dict(zip((each.name for each in schema), args, strict=False)) | given
        along = self._along(func, named, made, constants, dims, kept)
        found = func(*args, **given)
        outputs = [each for each in tree_leaves(found) if isinstance(each, Tensor)]
        outputs = outputs[:1] if func.overloadpacket in _NORMS else outputs
        for each in outputs:
            self._made[id(each)] = each, _moved(kept, along, each.ndim - dims)
        viewed = func.overloadpacket in _VIEWING and found.shape != made[0].shape
        if viewed or not all(map(self.is_map, outputs)):
            raise _NotByPosition
        return found

    def _along(
        self,
        func: Any,
        named: dict[str, Any],
        made: Sequence[Tensor],
        constants: Sequence[Tensor],
        dims: int,
        kept: Dims,
    ) -> list[int]:
        """The dimensions along which an operation on maps works, none of which is among those that are ``kept``."""
        kind = func.overloadpacket
        along: list[int] = []
        if torch.Tag.pointwise in func.tags or kind in _EACH_NUMBER:
            fits = all(_is_uniform(each, dims, kept) for each in constants)
        elif kind in _ALONG:
            asked = named.get("dim", named.get("dims"))
            asked = asked if isinstance(asked, list | tuple) else [] if asked is None else [asked]
            along = [dim % dims for dim in asked]
            fits = bool(along) and not {*along} & {*kept} and (not constants or kind is _aten.index_select)
        elif kind is _aten.convolution:
            fits = len(made) == 1 and made[0] is named["input"] and 1 not in kept and _is_of_one(named)
            self.multiply_adds += prod(named["weight"].shape[1:])
        elif kind in _NORMS:
            fits = len(made) == 1 and 1 not in kept and not named.get("training", False)
        elif kind in _INSERTING:
            along = [named["dim"] % (dims + 1)]
            fits = not constants
        elif kind is _aten.index:
            along = [at for at, index in enumerate(named["indices"]) if index is not None]
            fits = len(along) == len(constants) == 1 and along[0] not in kept and constants[0].ndim < 2
        elif kind is _aten.index_put_:
            indices, value = named["indices"], named["values"]
            at = [dim for dim, index in enumerate(indices) if index is not None]
            chosen = indices[at[0]]
            if id(chosen) in self._made:  # a mask of the map's shape
                fits = chosen.dtype == torch.bool and chosen.shape == made[0].shape and value.numel() == 1
            else:
                fits = len(at) == 1 and at[0] not in kept and chosen.ndim < 2
                fits = fits and (id(value) in self._made or _is_uniform(value, dims, kept))
        elif kind is _aten.constant_pad_nd:
            fits = not any(any(named["pad"][2 * (dims - 1 - dim) :][:2]) for dim in kept)
        else:
            fits = kind in _REPEATING | _VIEWING or (kind in _OF_CHANNELS and kept == (0, 2, 3))
        if not fits:
            raise _NotByPosition
        return along


class _Products(TorchFunctionMode):
    """Reads products before PyTorch takes them apart."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a function."""
        named = kwargs or {}
        found = read_product(func, args, named, self._watch.kept)
        if found is None:
            return func(*args, **named)
        return self._watch.computed(lambda: func(*args, **named), *found)


def _is_of_one(named: dict[str, Any]) -> bool:
    """Whether a convolution reads one position at a time."""
    once = {*named["weight"].shape[2:], *named["stride"]} == {1} and not any(named["padding"])
    return once and not named["transposed"] and named["input"].ndim == named["weight"].ndim


def _moved(kept: tuple[int, ...], along: Sequence[int], more: int) -> tuple[int, ...]:
    """Where dimensions are behind an operation along others that left these out, or inserted one; ``more`` than there were."""
    if more == 0:
        return kept
    if more == 1 and len(along) == 1:
        return tuple(dim + (along[0] <= dim) for dim in kept)
    if more == -len({*along}):
        return tuple(dim - sum(one < dim for one in {*along}) for dim in kept)
    raise _NotByPosition


def _is_uniform(constant: Tensor, dims: int, kept: Sequence[int]) -> bool:
    """Whether a tensor beside a map is the same at all of its positions, and for all images."""
    before = dims - constant.ndim
    return before >= 0 and all(dim < before or constant.shape[dim - before] == 1 for dim in kept)

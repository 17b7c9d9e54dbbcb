"""Layers that make several rows and columns of each one: each position becomes a block of positions by itself."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from mmer_core.incremental.tracer import called

_UPSAMPLING = (nn.Upsample, nn.UpsamplingNearest2d)
_NEAREST = ("nearest", "nearest-exact")
_ROWS, _COLUMNS = 2, 3
_MOST = 32
"""Times up to which PyTorch repeats evenly: from 41 on, rounding makes some positions more often than others."""


class Enlarging(NamedTuple):
    """A layer that does so.

    Attributes:
        times: Rows and columns that it makes of each.
        apply: Its operation, on any part of a map ``(B, C, h, w)``.
        multiply_adds: Per number of the output.
    """

    times: tuple[int, int]
    apply: Callable[[Tensor], Tensor]
    multiply_adds: int = 1


def read_enlarging(
    node: fx.Node,
    module: nn.Module | None,
    constant: Callable[[Any], Any],
    shapes: Mapping[str, torch.Size],
) -> Enlarging | None:
    """Read one; None for other layers. ``shapes`` are of maps by their nodes' names.

    Raises:
        IsNotLocal: Its weights are made of maps.
    """
    source: Any = node.args[0] if node.args else None
    before, after = shapes.get(getattr(source, "name", "")), shapes.get(node.name)
    if before is None or after is None or len(before) != 4 or len(after) != 4:
        return None
    times = after[_ROWS] // before[_ROWS], after[_COLUMNS] // before[_COLUMNS]
    if max(times) > _MOST or after[_ROWS:] != torch.Size(
        [times[0] * before[_ROWS], times[1] * before[_COLUMNS]]
    ):
        return None
    if isinstance(module, _UPSAMPLING) or node.target is F.interpolate:
        return Enlarging(times, _nearest(times)) if _is_nearest(node, module) else None
    if type(module) is nn.PixelShuffle or node.target in (F.pixel_shuffle, torch.pixel_shuffle):
        side = times[0]
        return Enlarging(times, lambda maps: F.pixel_shuffle(maps, side))
    if called(node) in ("repeat_interleave", torch.repeat_interleave):
        given = dict(zip(("repeats", "dim"), node.args[1:], strict=False)) | node.kwargs
        if type(given["repeats"]) is int and given.get("dim") in (_ROWS, _COLUMNS, -2, -1):
            return Enlarging(times, _nearest(times))
    if type(module) is nn.ConvTranspose2d or node.target in (F.conv_transpose2d, torch.conv_transpose2d):
        return _transposed(node, module, constant, times)
    return None


def _transposed(
    node: fx.Node, module: nn.Module | None, constant: Callable[[Any], Any], times: tuple[int, int]
) -> Enlarging | None:
    """A transposed convolution whose blocks lie beside one another."""
    names = ("weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
    given: dict[str, Any] = {
        "bias": None,
        "stride": 1,
        "padding": 0,
        "output_padding": 0,
        "groups": 1,
        "dilation": 1,
    }
    if module is not None:
        given |= {name: getattr(module, name) for name in names}
    else:
        given |= dict(zip(names, node.args[1:], strict=False)) | node.kwargs
    weight, bias, stride, padding, more, groups, dilation = (constant(given[name]) for name in names)
    pairs = _pair(padding), _pair(more), _pair(dilation), _pair(stride), tuple(weight.shape[2:])
    if pairs != ((0, 0), (0, 0), (1, 1), times, times):
        return None
    apply = lambda maps: F.conv_transpose2d(maps, weight, bias, stride, groups=groups)  # noqa: E731
    return Enlarging(times, apply, weight.shape[0] // groups)


def _pair(value: Any) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _nearest(times: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    factors = tuple(map(float, times))
    return lambda maps: F.interpolate(maps, scale_factor=factors, mode="nearest")


def _is_nearest(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether each position is repeated: of a factor like 2.1 that is rounded to whole sizes, some would be oftener than others."""
    names = ("size", "scale_factor", "mode")
    given: dict[str, Any] = {"size": None, "scale_factor": None, "mode": "nearest"}
    if module is not None:
        given |= {name: getattr(module, name) for name in names}
    else:
        given |= dict(zip(names, node.args[1:], strict=False)) | node.kwargs
    factors = given["scale_factor"]
    whole = factors if isinstance(factors, list | tuple) else (1 if factors is None else factors,)
    return given["mode"] in _NEAREST and all(float(each).is_integer() for each in whole)

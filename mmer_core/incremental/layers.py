"""Which layers are local, and the window that each reads."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from mmer_core.incremental.spans import CONSTANT, Reach


class IsNotLocal(Exception):
    """Incremental evaluation must stop here; the message names the obstacle."""


# Stateless functions of a single position. Whether they work in place is an attribute of the module.
POINTWISE: frozenset[Any] = frozenset(
    {
        *(nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh),
        *(nn.GELU, nn.ELU, nn.CELU, nn.SELU, nn.LeakyReLU, nn.Softplus, nn.Mish),
        *(F.relu, F.relu6, F.silu, F.hardswish, F.hardsigmoid, F.hardtanh, F.gelu, F.elu, F.leaky_relu),
        *(F.softplus, F.mish, torch.relu, torch.sigmoid, torch.tanh, torch.clamp),
    }
)


_MODES = {"zeros": CONSTANT, "reflect": "reflect", "replicate": "replicate"}
"""How convolutions call modes of padding; ``circular`` carries a change at one side to the other one."""

METHODS = frozenset({"relu", "sigmoid", "tanh", "clamp", "add", "sub", "mul", "div"})
"""Of tensors, with constants only."""


@dataclass(frozen=True)
class Window:
    """The window that a layer reads along both axes, and what is outside the map: ``fill``, or what ``mode`` repeats."""

    rows: Reach
    columns: Reach
    fill: float = 0.0
    mode: str = CONSTANT

    @staticmethod
    def square(kernel: int) -> "Window":
        """Stride 1, no padding."""
        return Window(Reach(kernel, 1, 1, 0, 0), Reach(kernel, 1, 1, 0, 0))

    @property
    def unpadded(self) -> bool:
        return not any(self.padding)

    @property
    def positions(self) -> int:
        """Number of positions that one output reads."""
        return self.rows.kernel * self.columns.kernel

    @property
    def pointwise(self) -> bool:
        """Whether it reads only its own position."""
        return self.unpadded and all(
            (reach.kernel, reach.stride) == (1, 1) for reach in (self.rows, self.columns)
        )

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """Top, bottom, left, right; below 0 where the map is cut off."""
        return self.rows.before, self.rows.after, self.columns.before, self.columns.after

    def padded(
        self, top: int, bottom: int, left: int, right: int, fill: float, mode: str = CONSTANT
    ) -> "Window":
        """This window with additional padding."""
        rows = replace(self.rows, before=self.rows.before + top, after=self.rows.after + bottom)
        columns = replace(self.columns, before=self.columns.before + left, after=self.columns.after + right)
        return Window(rows, columns, fill, mode)


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution or pooling.

    Attributes:
        window: The window that it reads.
        apply: Its operation on maps that are already padded.
        multiply_adds: Per number of the output.
    """

    window: Window
    apply: Callable[[Tensor], Tensor]
    multiply_adds: int


def read_window(
    node: fx.Node,
    module: nn.Module | None,
    constant: Callable[[Any], Any],
    shapes: Mapping[str, torch.Size],
) -> Layer | None:
    """Read a convolution or pooling; None for other layers. ``shapes`` are of maps by their nodes' names.

    Raises:
        IsNotLocal: It is one, but with unsupported settings.
    """
    if type(module) is nn.Conv2d and module.padding_mode in _MODES:
        layer = _convolution(
            module.weight, module.bias, module.stride, module.padding, module.dilation, module.groups
        )
        mode = CONSTANT if layer.window.unpadded else _MODES[module.padding_mode]
        return replace(layer, window=replace(layer.window, mode=mode))
    if node.target in (F.conv2d, torch.conv2d):
        names = ("weight", "bias", "stride", "padding", "dilation", "groups")
        defaults = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        given = dict(zip(names, node.args[1:], strict=False)) | node.kwargs
        return _convolution(**{name: constant(value) for name, value in (defaults | given).items()})
    if type(module) is nn.PixelUnshuffle or node.target in (F.pixel_unshuffle, torch.pixel_unshuffle):
        side: Any = getattr(module, "downscale_factor", None) or (*node.args[1:], *node.kwargs.values())[0]
        return Layer(_window(side, side, 0, 1, 0.0), lambda maps: F.pixel_unshuffle(maps, side), 1)
    if node.target is operator.getitem:
        return _every(node, shapes)
    if type(module) is nn.MaxPool2d or node.target in _MAXIMA:
        pool = _pooling(node, module, ("stride", "padding", "dilation", "ceil_mode", "return_indices"))
        if pool["return_indices"]:
            return None
        shape = pool["kernel_size"], pool["stride"] or pool["kernel_size"], 0, pool["dilation"]
        window = _window(shape[0], shape[1], pool["padding"], shape[3], float("-inf"))
        if pool["ceil_mode"]:
            window = _reaching(window, node, shapes)
        return Layer(window, lambda maps: F.max_pool2d(maps, *shape), window.positions)
    if type(module) is nn.AvgPool2d or node.target in _MEANS:
        return _mean(node, module, shapes)
    return None


def _mean(node: fx.Node, module: nn.Module | None, shapes: Mapping[str, torch.Size]) -> Layer | None:
    pool = _pooling(node, module, ("stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"))
    kernel, stride = _pair(pool["kernel_size"]), _pair(pool["stride"] or pool["kernel_size"])
    divisor, padding = pool["divisor_override"], _pair(pool["padding"])

    def mean(maps: Tensor) -> Tensor:
        return F.avg_pool2d(maps, kernel, stride, divisor_override=divisor)

    def mean_inside(maps: Tensor) -> Tensor:
        inside = maps > torch.finfo(maps.dtype).min
        return mean(torch.where(inside, maps, 0.0)) / mean(inside.to(maps.dtype))

    whole = _window(kernel, stride, padding, 1, 0.0)
    window = _reaching(whole, node, shapes) if pool["ceil_mode"] else whole
    counted = pool["count_include_pad"] and any(
        padding
    )  # padding counts, but not what a size is rounded up by
    if divisor is not None or window.unpadded or (counted and window == whole):
        return Layer(window, mean, window.positions)
    if counted:
        return None
    return Layer(replace(window, fill=float("-inf")), mean_inside, 2 * window.positions)


def _every(node: fx.Node, shapes: Mapping[str, torch.Size]) -> Layer | None:
    """Every so many rows and columns between two, as in ``x[:, :, ::2, 1::2]`` or ``x[..., 1:-1, 1:-1]``."""
    source: Any = node.args[0]
    index: Any = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    shape = shapes.get(getattr(source, "name", ""), torch.Size())
    if len(shape) != 4 or any(isinstance(each, fx.Node) for each in tree_leaves(index)):
        return None
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index = (*index[:at], *[slice(None)] * (5 - len(index)), *index[at + 1 :])
    if len(index) not in (3, 4) or not all(isinstance(each, slice) for each in index):
        return None
    if any(each.indices(size) != (0, size, 1) for each, size in zip(index[:2], shape, strict=False)):
        return None
    reaches = []
    for each, size in zip([*index, slice(None)][2:4], shape[2:], strict=True):
        start, stop, step = each.indices(size)
        if stop <= start:
            return None
        reaches.append(Reach(1, step, 1, -start, stop - size))
    rows, columns = (reach.stride for reach in reaches)
    return Layer(Window(reaches[0], reaches[1]), lambda maps: maps[:, :, ::rows, ::columns], 1)


_MAXIMA, _MEANS = (F.max_pool2d, torch.max_pool2d), (F.avg_pool2d, torch._C._nn.avg_pool2d)
_POOLING = {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False}
_AVERAGING = {"count_include_pad": True, "divisor_override": None}


def _pooling(node: fx.Node, module: nn.Module | None, names: tuple[str, ...]) -> dict[str, Any]:
    """The settings of a pooling, of a module or a function."""
    if module is not None:
        return {name: getattr(module, name) for name in ("kernel_size", *names)}
    return (
        _POOLING
        | _AVERAGING
        | dict(zip(("kernel_size", *names), node.args[1:], strict=False))
        | dict(node.kwargs)
    )


def _reaching(window: Window, node: fx.Node, shapes: Mapping[str, torch.Size]) -> Window:
    """The window of a pooling that rounds the size of its output up: with as much more padding as that needs."""
    ahead = []
    source: Any = node.args[0]
    for reach, length, outputs in zip(
        (window.rows, window.columns), shapes[source.name][2:], shapes[node.name][2:], strict=True
    ):
        ahead.append(max(0, reach.read(outputs) - length - reach.before - reach.after))
    return window.padded(0, ahead[0], 0, ahead[1], window.fill)


def _convolution(weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Layer:
    kernel, stride, dilation = tuple(weight.shape[2:]), _pair(stride), _pair(dilation)
    # Channels-last weights, so that windows need no reordering.
    weight = weight.contiguous(memory_format=torch.channels_last)
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        rows, columns = ((t // 2, t - t // 2) for t in total)
        window = _window(kernel, stride, 0, dilation, 0.0).padded(*rows, *columns, 0.0)
    else:
        window = _window(kernel, stride, 0 if padding == "valid" else padding, dilation, 0.0)
    return Layer(
        window, lambda maps: F.conv2d(maps, weight, bias, stride, 0, dilation, groups), weight[0].numel()
    )


def _window(kernel: Any, stride: Any, padding: Any, dilation: Any, fill: float) -> Window:
    reaches = [
        Reach(k, s, d, p, p)
        for k, s, p, d in zip(*(_pair(value) for value in (kernel, stride, padding, dilation)), strict=True)
    ]
    return Window(reaches[0], reaches[1], fill)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)

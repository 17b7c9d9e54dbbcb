"""Which layers are local, and the window that each reads."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from mmer_core.incremental.spans import Reach


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


@dataclass(frozen=True)
class Window:
    """The window that a layer reads along both axes, and the value outside the map."""

    rows: Reach
    columns: Reach
    fill: float = 0.0

    @staticmethod
    def square(kernel: int) -> "Window":
        """Stride 1, no padding."""
        return Window(Reach(kernel, 1, 1, 0, 0), Reach(kernel, 1, 1, 0, 0))

    @property
    def unpadded(self) -> bool:
        return not any((self.rows.before, self.rows.after, self.columns.before, self.columns.after))

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

    def padded(self, top: int, bottom: int, left: int, right: int, fill: float) -> "Window":
        """This window with additional padding."""
        rows = replace(self.rows, before=self.rows.before + top, after=self.rows.after + bottom)
        columns = replace(self.columns, before=self.columns.before + left, after=self.columns.after + right)
        return Window(rows, columns, fill)


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


def read_window(node: fx.Node, module: nn.Module | None, constant: Callable[[Any], Any]) -> Layer | None:
    """Read a convolution or pooling; None for other layers.

    Raises:
        IsNotLocal: It is one, but with unsupported settings.
    """
    if type(module) is nn.Conv2d and module.padding_mode == "zeros":
        return _convolution(
            module.weight, module.bias, module.stride, module.padding, module.dilation, module.groups
        )
    if node.target in (F.conv2d, torch.conv2d):
        names = ("weight", "bias", "stride", "padding", "dilation", "groups")
        defaults = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        given = dict(zip(names, node.args[1:], strict=False)) | node.kwargs
        return _convolution(**{name: constant(value) for name, value in (defaults | given).items()})
    if type(module) is nn.MaxPool2d and not module.ceil_mode and not module.return_indices:
        window = _window(module.kernel_size, module.stride, module.padding, module.dilation, float("-inf"))
        shape = module.kernel_size, module.stride, 0, module.dilation
        return Layer(window, lambda maps: F.max_pool2d(maps, *shape), window.positions)
    if type(module) is nn.AvgPool2d and not module.ceil_mode:
        window = _window(module.kernel_size, module.stride, module.padding, 1, 0.0)
        if window.unpadded or module.count_include_pad:
            divisor = module.divisor_override
            kernel, stride = _pair(module.kernel_size), _pair(module.stride)
            return Layer(
                window,
                lambda maps: F.avg_pool2d(maps, kernel, stride, divisor_override=divisor),
                window.positions,
            )
    return None


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

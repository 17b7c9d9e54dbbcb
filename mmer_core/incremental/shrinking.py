"""Layers that make one row and column of several: interpolation to a smaller size, and adaptive pooling.

What they read depends on mode, size, factor and rounding. So each is run once, on random numbers, and taken for the window
that gives the same.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from mmer_core.incremental.layers import Layer, Window
from mmer_core.incremental.spans import Reach

_MODULES = (nn.Upsample, nn.UpsamplingNearest2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_FUNCTIONS = (F.interpolate, F.adaptive_avg_pool2d, F.adaptive_max_pool2d, torch._C._nn.adaptive_avg_pool2d)


def read_shrinking(node: fx.Node, module: nn.Module | None, shapes: Mapping[str, torch.Size]) -> Layer | None:
    """Read one whose blocks of positions are all alike; None for others, and where one position or row of all is left.

    Args:
        shapes: Of maps by their nodes' names.
    """
    if not isinstance(module, _MODULES) and node.target not in _FUNCTIONS:
        return None
    source: Any = node.args[0] if node.args else None
    before, after = shapes.get(getattr(source, "name", "")), shapes.get(node.name)
    if before is None or after is None or len(before) != 4 or min(after[2:]) < 2:
        return None
    times = before[2] // after[2], before[3] // after[3]
    if before[2:] != torch.Size([times[0] * after[2], times[1] * after[3]]):
        return None
    numbers = torch.rand(1, 1, *before[2:], generator=torch.Generator().manual_seed(0))
    call: Any = module if module is not None else node.target
    found = call(numbers, *node.args[1:], **node.kwargs)
    if not isinstance(found, Tensor):
        return None
    return next((layer for layer in _candidates(times) if _same(layer, numbers, found)), None)


def _candidates(times: tuple[int, int]) -> Iterator[Layer]:
    """Windows that become one position of each block of so many rows and columns."""
    rows, columns = (Reach(each, each, 1, 0, 0) for each in times)
    whole = Window(rows, columns)
    yield Layer(whole, lambda maps: F.avg_pool2d(maps, times), whole.positions)
    yield Layer(whole, lambda maps: F.max_pool2d(maps, times), whole.positions)
    yield _within(times, [0, 0], [1, 1])  # the first of each block
    yield _within(times, [each // 2 for each in times], [1, 1])  # the middle, or behind it
    # Between the two in the middle of an even number, as where lines are drawn between positions.
    yield _within(times, [(each - 1) // 2 for each in times], [2 - each % 2 for each in times])


def _within(times: tuple[int, int], first: list[int], kernel: list[int]) -> Layer:
    """The mean of a part of each block."""
    rows, columns = (
        Reach(size, each, 1, -start, size + start - each)
        for each, start, size in zip(times, first, kernel, strict=True)
    )
    window = Window(rows, columns)
    mean: Callable[[Tensor], Tensor] = lambda maps: F.avg_pool2d(maps, kernel, times)  # noqa: E731
    return Layer(window, mean, window.positions)


def _same(layer: Layer, numbers: Tensor, found: Tensor) -> bool:
    rows, columns = layer.window.rows, layer.window.columns
    inside = F.pad(numbers, (columns.before, columns.after, rows.before, rows.after))
    return torch.allclose(layer.apply(inside), found, atol=1e-5)

"""Windows of feature maps: gathered from the clean maps, with all changes pasted in.

Maps are kept as rows ``(images, H * W, C)``, one per position, so that gathering and pasting windows copies
whole rows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmer_core.incremental.layers import Window
from mmer_core.incremental.spans import CONSTANT, Span, repeated

_OUTSIDE = -(2**28)
"""More than there are positions in all changed windows of a pass."""


@dataclass(frozen=True)
class Area:
    """For each input pixel, the rectangle of one map that it can influence."""

    rows: Span
    columns: Span

    @property
    def shape(self) -> tuple[int, int]:
        """``(h, w)`` of the rectangles."""
        return self.rows.size, self.columns.size

    @property
    def map_shape(self) -> tuple[int, int]:
        """``(H, W)`` of the map."""
        return self.rows.extent, self.columns.extent

    def same(self, other: "Area") -> bool:
        """Whether the rectangles are equal for every pixel."""
        return all(
            mine.size == theirs.size and bool((mine.origins == theirs.origins).all())
            for mine, theirs in ((self.rows, other.rows), (self.columns, other.columns))
        )

    def at(self, pixels: Tensor) -> Tensor:
        """Top left corners ``(..., 2)`` for the pixels ``(..., 2)``, ``(y, x)``."""
        return torch.stack([self.rows.origins[pixels[..., 0]], self.columns.origins[pixels[..., 1]]], dim=-1)


@dataclass(frozen=True)
class WindowGather:
    """How the windows that a step reads are assembled from its input's windows.

    Attributes:
        name: The input.
        window: The window that the step reads; its padding is part of the clean map.
        source: The positions of the input's windows; None if it is the same for all images, and has none.
        target: The positions of the windows to gather, in the coordinates of the padded map.
        repeated: Rows and columns of the map that those of the padded one repeat; None if it is padded with a constant.
    """

    name: str
    window: Window
    source: Area | None
    target: Area
    repeated: tuple[Tensor, Tensor] | None = None

    @staticmethod
    def for_outputs(name: str, window: Window, source: Area, outputs: Area) -> "WindowGather":
        """Gather what a step needs to compute the rectangles ``outputs``."""
        spans = []
        for reach, span, out in (
            (window.rows, source.rows, outputs.rows),
            (window.columns, source.columns, outputs.columns),
        ):
            padded = span.extent + reach.before + reach.after
            spans.append(Span(padded, reach.read(out.size), out.origins * reach.stride))
        both = None
        if window.mode != CONSTANT:
            rows, columns = repeated_positions(source.map_shape, window.padding, window.mode)
            where = source.rows.origins.device
            both = rows.to(where), columns.to(where)
        return WindowGather(name, window, source, Area(*spans), both)

    def __call__(self, clean: Tensor, slots: Tensor, pixels: Tensor, changed: Tensor | None) -> Tensor:
        """Gather one window for each pixel.

        Args:
            clean: ``(images, H' * W', C)`` padded clean maps.
            slots: ``(B,)`` int32, the image of each candidate.
            pixels: ``(B, K, 2)`` int32.
            changed: ``(B * K, C, h, w)``, the input's windows, channels-last; None if it has none.

        Returns:
            ``(B * K, C, h', w')``, channels-last. Every pixel of the same candidate is pasted into every
            window that it influences, so windows may overlap.
        """
        (height, width), (rows, columns) = self.target.shape, self.target.map_shape
        down, right = rows_and_columns(self.target.at(pixels), self.target.shape)  # (B, K, h'), (B, K, w')
        cells = down[..., :, None] * columns + right[..., None, :]
        cells = cells + slots[:, None, None, None] * (rows * columns)
        found = clean.flatten(0, 1).index_select(0, cells.flatten())  # (B * K * h' * w', C)
        if changed is not None:
            found = self._pasted(found, down, right, pixels, changed)
        return found.view(-1, height, width, clean.shape[2]).permute(0, 3, 1, 2)

    def _pasted(self, found: Tensor, down: Tensor, right: Tensor, pixels: Tensor, changed: Tensor) -> Tensor:
        """What was gathered at these rows and columns, with what changed in it."""
        assert self.source is not None
        corners = self.source.at(pixels)
        if self.repeated is None:
            down, right = down - self.window.rows.before, right - self.window.columns.before
        else:
            down, right = (each[at] for each, at in zip(self.repeated, (down, right), strict=True))
        # For each position the last pixel that reaches it, as a row of the changed windows; below 0 where none does.
        (own_height, own_width), several = self.source.shape, _numbers(pixels)[:, None, :, None, None]
        sources = (
            _within(down, corners[..., 0], own_height, own_width)[..., :, None]
            + _within(right, corners[..., 1], own_width, 1)[..., None, :]
            + several * (own_height * own_width)
        )  # (B, into K, from K, h', w')
        sources = sources.amax(2).flatten()
        patches = changed.permute(0, 2, 3, 1).flatten(0, 2).index_select(0, sources.clamp(min=0))
        return torch.where(sources[:, None] >= 0, patches, found)


def lay_over(clean: Tensor, area: Area, slots: Tensor, pixels: Tensor, changed: Tensor) -> Tensor:
    """Complete maps ``(B, C, H, W)``, channels-last: the clean ones with every window of a candidate pasted in.

    ``clean``, ``slots``, ``pixels`` and ``changed`` are those of `WindowGather`, without padding.
    """
    height, width = area.map_shape
    maps = clean.index_select(0, slots).flatten(0, 1)  # (B * H * W, C)
    # OpenVINO's front end follows what is written back through views, and fails where the network cuts the map up.
    maps = maps.clone() if torch.jit.is_tracing() else maps
    cells = cells_of(area.at(pixels), area.shape, width)
    cells = cells + _counted(slots)[:, None, None, None] * (height * width)
    # OpenVINO copies rows for this, and single numbers for index_copy.
    maps = maps.index_put_((cells.flatten().long(),), changed.permute(0, 2, 3, 1).flatten(0, 2))
    return maps.view(-1, height, width, clean.shape[2]).permute(0, 3, 1, 2)


def repeated_positions(
    shape: tuple[int, int], padding: tuple[int, int, int, int], mode: str
) -> tuple[Tensor, Tensor]:
    """Which row and which column of a map ``(H, W)`` each one of the padded map repeats."""
    top, bottom, left, right = padding
    return repeated(shape[0], top, bottom, mode), repeated(shape[1], left, right, mode)


def cells_of(corners: Tensor, shape: tuple[int, int], row_length: int) -> Tensor:
    """``(B, K, h, w)`` positions in a flat map of the rectangles at ``corners`` ``(B, K, 2)``."""
    down, right = rows_and_columns(corners, shape)
    return down[..., :, None] * row_length + right[..., None, :]


def rows_and_columns(corners: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Rows ``(..., h)`` and columns ``(..., w)`` of the rectangles at ``corners`` ``(..., 2)``."""
    down, right = (torch.arange(size, dtype=torch.int32, device=corners.device) for size in shape)
    return corners[..., 0, None] + down, corners[..., 1, None] + right


def _within(positions: Tensor, origins: Tensor, size: int, step: int) -> Tensor:
    """How far positions ``(B, K, n)`` are along intervals of this size at ``origins`` ``(B, K)``, times ``step``.

    ``(B, into K, from K, n)``; `_OUTSIDE` of the interval.
    """
    along = positions[:, :, None] - origins[:, None, :, None]
    return torch.where((along >= 0) & (along < size), along * step, _OUTSIDE)


def _counted(like: Tensor) -> Tensor:
    """0, 1, ... in the shape of ``like``: no range, so that one trace serves batches of any size."""
    return (torch.ones_like(like).flatten().cumsum(0, dtype=torch.int32) - 1).view_as(like)


def _numbers(pixels: Tensor) -> Tensor:
    """``(B, K)``: the numbers of the windows."""
    return _counted(pixels[..., 0])

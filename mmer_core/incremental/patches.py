"""Windows of feature maps: gathered from the clean maps, with all changes pasted in.

Maps are kept as rows ``(images, H * W, C)``, one per position, so that gathering and pasting windows copies
whole rows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmer_core.incremental.layers import Window
from mmer_core.incremental.spans import Span


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
        source: The positions of the input's windows.
        target: The positions of the windows to gather, in the coordinates of the padded map.
    """

    name: str
    window: Window
    source: Area
    target: Area

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
        return WindowGather(name, window, source, Area(*spans))

    def __call__(self, clean: Tensor, slots: Tensor, pixels: Tensor, changed: Tensor) -> Tensor:
        """Gather one window for each pixel.

        Args:
            clean: ``(images, H' * W', C)`` padded clean maps.
            slots: ``(B,)`` int64, the image of each candidate.
            pixels: ``(B, K, 2)`` int64.
            changed: ``(B * K, C, h, w)``, the input's windows, channels-last.

        Returns:
            ``(B * K, C, h', w')``, channels-last. Every pixel of the same candidate is pasted into every
            window that it influences, so windows may overlap.
        """
        batch, several = pixels.shape[:2]
        (height, width), channels = self.target.shape, clean.shape[2]
        corners = self.target.at(pixels)  # (B, K, 2)
        cells = cells_of(corners, (height, width), self.target.columns.extent)
        cells += slots.view(-1, 1, 1, 1) * clean.shape[1]
        count = cells.numel()
        rows = clean.new_empty(count + 1, channels)  # the last row receives what falls outside its window
        torch.index_select(clean.flatten(0, 1), 0, cells.view(-1), out=rows[:count])

        offsets = self.source.at(pixels)[:, None, :, :] - corners[:, :, None, :]  # (B, into K, from K, 2)
        offsets[..., 0] += self.window.rows.before
        offsets[..., 1] += self.window.columns.before
        into = torch.arange(batch * several, device=corners.device).view(batch, several, 1)
        source_rows = changed.permute(0, 2, 3, 1).flatten(0, 2)
        if several == 1:
            places = _inside(offsets.view(-1, 2), self.source.shape, (height, width), into.view(-1), count)
        else:
            (down, right), (own_height, own_width) = offsets.unbind(-1), self.source.shape
            reached = (down < height) & (down > -own_height) & (right < width) & (right > -own_width)
            b, to, origin = reached.nonzero(as_tuple=True)
            places = _inside(
                offsets[b, to, origin], self.source.shape, (height, width), b * several + to, count
            )
            source_rows = changed.permute(0, 2, 3, 1).flatten(1, 2)[b * several + origin].flatten(0, 1)
        rows.index_copy_(0, places, source_rows)
        return rows[:count].view(batch * several, height, width, channels).permute(0, 3, 1, 2)


def lay_over(clean: Tensor, area: Area, slots: Tensor, pixels: Tensor, changed: Tensor) -> Tensor:
    """Complete maps ``(B, C, H, W)``, channels-last: the clean ones with every window of a candidate pasted in.

    ``clean``, ``slots``, ``pixels`` and ``changed`` are those of `WindowGather`, without padding.
    """
    batch, (height, width) = len(pixels), area.map_shape
    maps = clean.index_select(0, slots).flatten(0, 1)  # (B * H * W, C)
    cells = cells_of(area.at(pixels), area.shape, width)
    cells += torch.arange(batch, device=cells.device).view(-1, 1, 1, 1) * (height * width)
    maps.index_copy_(0, cells.view(-1), changed.permute(0, 2, 3, 1).flatten(0, 2))
    return maps.view(batch, height, width, -1).permute(0, 3, 1, 2)


def cells_of(corners: Tensor, shape: tuple[int, int], row_length: int) -> Tensor:
    """``(B, K, h, w)`` positions in a flat map of the rectangles at ``corners`` ``(B, K, 2)``."""
    down = corners[..., 0, None] + torch.arange(shape[0], device=corners.device)
    right = corners[..., 1, None] + torch.arange(shape[1], device=corners.device)
    return down[..., :, None] * row_length + right[..., None, :]


def _inside(
    offsets: Tensor, shape: tuple[int, int], target: tuple[int, int], into: Tensor, outside: int
) -> Tensor:
    """Where rectangles of ``shape`` at ``offsets`` ``(M, 2)`` fall in the windows numbered ``into`` ``(M,)``.

    Returns ``(M * h * w,)`` positions in the flat windows, ``outside`` for those beside their window.
    """
    height, width = target
    down = offsets[:, 0, None] + torch.arange(shape[0], device=offsets.device)  # (M, h)
    right = offsets[:, 1, None] + torch.arange(shape[1], device=offsets.device)  # (M, w)
    inside = ((down >= 0) & (down < height))[:, :, None] & ((right >= 0) & (right < width))[:, None, :]
    places = down[:, :, None] * width + right[:, None, :] + into.view(-1, 1, 1) * (height * width)
    return torch.where(inside, places, outside).view(-1)

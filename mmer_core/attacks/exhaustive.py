"""Every pixel, every corner: the one-pixel threat model tried out to its end."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from mmer_core.attacks.attack import BlackBoxAttack, Generation, Search, Targets, generation_of
from mmer_core.attacks.candidates import Candidates, from_flat
from mmer_core.attacks.corners import CORNERS
from mmer_core.base_config import Config
from mmer_core.heavy import torch


class ExhaustiveOnePixel(BlackBoxAttack):
    """Sets one pixel after the other, in reading order, to each of the 8 corners of the colour cube.

    It changes one pixel whatever ``K`` is. Without a stride it tries the finest regular grid of places that
    the budget pays (``8 * H * W`` queries for all), so that it looks at the whole image in any case; with one
    it goes on in reading order until the budget is spent, and ``whole`` pays for all of its grid whatever the budget is.
    ``whole`` with the stride 1 is the truth for one pixel in a corner colour, by which the report measures the other
    attacks; a study runs it for ``K = 1`` only. ``one_pixel_map`` gives the margins of all places.
    """

    name = "exhaustive"
    title = "One pixel, exhaustively"
    summary = "one pixel, every place and corner colour that the budget pays"

    class Options(Config):
        stride: int | None = Field(
            None,
            ge=1,
            description="Try every so many rows and columns; by default the finest grid that the budget pays.",
        )
        whole: bool = Field(
            False, description="Try all of the grid, every place by default, whatever the budget is."
        )

    options: Options

    def repeats(self, pixels: int, again: bool) -> bool:
        return again or (self.options.whole and pixels > 1)

    @property
    def exact(self) -> bool:
        return self.options.whole and self.options.stride in (None, 1)

    def settled(self, size: tuple[int, ...], budget: int) -> dict[str, Any]:
        return {"stride": self.options.stride or affordable_stride(size, self.paid(size, budget))}

    def paid(self, size: tuple[int, ...], budget: int) -> int:
        return len(CORNERS) * size[0] * size[1] if self.options.whole else budget

    def _search(self, targets: Targets) -> Search:
        return _Sweep(self, targets)


class _Sweep(Search):
    """One row of the grid is one generation; images of the same size have the same grid."""

    of_images = ("_grids",)

    def __init__(self, attack: ExhaustiveOnePixel, targets: Targets) -> None:
        super().__init__(targets)
        self._next = 0
        self._grids = []
        for image in targets.images:
            stride = attack.settled(image.shape[:2], targets.budget)["stride"]
            self._grids.append(
                (grid_lines(image.shape[0], stride), grid_lines(image.shape[1], stride), image.shape[1])
            )

    def propose(self) -> Generation:
        rows = [
            corners_of(lines[self._next], columns, width, self.targets.pixels)
            if self._next < len(lines)
            else None
            for lines, columns, width in self._grids
        ]
        self._next += 1
        return generation_of(rows, self.targets)

    def learn(self, margins: torch.Tensor) -> None:
        """Nothing: the order is fixed."""


def corners_of(row: int, columns: np.ndarray, width: int, pixels: int = 1) -> Candidates:
    """All corners at the places ``(row, columns)`` of an image: ``8 * len(columns)`` candidates, by place."""
    flat = np.repeat(row * width + columns, len(CORNERS))
    colours = np.tile(CORNERS, (len(columns), 1))
    return from_flat(flat[:, None], colours[:, None], pixels)


def grid_lines(length: int, stride: int) -> np.ndarray:
    """Every ``stride``-th of ``length`` rows or columns, with the same distance to both borders or one more."""
    return np.arange((length - 1) % stride // 2, length, stride)


def affordable_stride(size: tuple[int, ...], budget: int) -> int:
    """The smallest stride whose grid of an ``(H, W)`` image needs no more than ``budget`` queries.

    Where not even one place can be paid in full, the stride is that of one place.
    """
    longest = max(size[0], size[1])
    for stride in range(1, longest):
        places = len(grid_lines(size[0], stride)) * len(grid_lines(size[1], stride))
        if places * len(CORNERS) <= budget:
            return stride
    return longest

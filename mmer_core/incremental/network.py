"""A network that recomputes only what a change influences.

Exact up to float rounding: a window contains every position that a changed pixel can influence, so everything
outside a candidate's windows is as in the clean image.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mmer_core.incremental.layers import Window
from mmer_core.incremental.layout import Layout
from mmer_core.incremental.lowering import Program, Step
from mmer_core.incremental.patches import Area, WindowGather, lay_over


class IncrementalNetwork:
    """A lowered network, computed in windows up to ``cut`` and densely after it.

    Args:
        program: The lowered network.
        layout: Its windows.
        cut: The last step to compute in windows, one of ``program.cuts``; or the input itself, ``program.source``.
        rest: The network after the cut, ``(B, C, H, W)`` to ``(B, S)``.
        images: Number of clean images to keep.
    """

    def __init__(
        self, program: Program, layout: Layout, cut: str, rest: Callable[[Tensor], Tensor], images: int
    ) -> None:
        names = [program.source, *(step.name for step in program.steps)]
        self._steps = program.steps[: names.index(cut)]
        self._layout, self._source, self._cut = layout, program.source, cut
        self._rest, self._images = rest, images
        self._last_reader = {name: step.name for step in self._steps for name in step.inputs}
        self._clean: dict[object, Tensor] = {}

    def remember(self, slot: int, image: Tensor) -> None:
        """Keep the clean maps of ``image`` ``(1, 3, H, W)`` in a slot, ``0 <= slot < images``."""
        maps = {self._source: image.contiguous(memory_format=torch.channels_last)}
        for step in self._steps:
            for number, name in enumerate(step.inputs):
                if gather := self._layout.gathers.get((step.name, number)):
                    self._keep(_kept_as(gather), slot, pad(maps[name], gather.window))
            maps[step.name] = run_densely(step, maps)
            self._forget(maps, step)
        self._keep(self._cut, slot, maps[self._cut])

    def __call__(self, slots: Tensor, pixels: Tensor, values: Tensor) -> Tensor:
        """Evaluate candidates.

        Args:
            slots: ``(B,)`` int64, the slot of each candidate's image.
            pixels: ``(B, K, 2)`` int64, ``(y, x)`` of the changed pixels.
            values: ``(B, K, 3)``, the new values of these pixels, normalised.

        Returns:
            ``(B, S)``, the network's output for the changed images.
        """
        changed = self.windows(slots, pixels, values)
        return self._rest(lay_over(self._clean[self._cut], self.area, slots, pixels, changed))

    def windows(self, slots: Tensor, pixels: Tensor, values: Tensor) -> Tensor:
        """``(B * K, C, h, w)``, channels-last: everything that each changed pixel can influence at the cut.

        Overlapping windows of one candidate agree where they overlap. Arguments as for `__call__`.
        """
        maps = {self._source: values.reshape(-1, values.shape[2], 1, 1)}
        for step in self._steps:
            inputs = []
            for number, name in enumerate(step.inputs):
                gather = self._layout.gathers.get((step.name, number))
                if gather is None:
                    inputs.append(maps[name])
                else:
                    inputs.append(gather(self._clean[_kept_as(gather)], slots, pixels, maps[name]))
            maps[step.name] = step.apply(*inputs)
            self._forget(maps, step)
        return maps[self._cut]

    @property
    def area(self) -> Area:
        """The positions of the windows at the cut."""
        return self._layout.areas[self._cut]

    def clean_map(self, slot: int) -> Tensor:
        """``(H * W, C)``, the map at the cut of an image in a slot."""
        return self._clean[self._cut][slot]

    def _forget(self, maps: dict[str, Tensor], step: Step) -> None:
        for name in set(step.inputs):
            if self._last_reader[name] == step.name:
                del maps[name]

    def _keep(self, key: object, slot: int, maps: Tensor) -> None:
        rows = maps.permute(0, 2, 3, 1).flatten(1, 2)  # (1, H * W, C)
        if key not in self._clean:
            self._clean[key] = rows.new_empty(self._images, *rows.shape[1:])
        self._clean[key][slot] = rows[0]


def run_densely(step: Step, maps: dict[str, Tensor]) -> Tensor:
    """The step's complete output, from complete ``maps``."""
    inputs = [maps[name] for name in step.inputs]
    return step.apply(pad(inputs[0], step.window) if step.window is not None else inputs[0], *inputs[1:])


def pad(maps: Tensor, window: Window) -> Tensor:
    """``maps`` padded as ``window`` requires."""
    if window.unpadded:
        return maps
    rows, columns = window.rows, window.columns
    return F.pad(maps, (columns.before, columns.after, rows.before, rows.after), value=window.fill)


def bytes_kept(program: Program, layout: Layout, cut: str, clean: dict[str, Tensor]) -> int:
    """Memory of the clean maps of one image, in bytes; ``clean`` has the map of the input and of each step."""
    kept: dict[object, int] = {cut: clean[cut].nbytes}
    for step in program.steps:
        for number, name in enumerate(step.inputs):
            if gather := layout.gathers.get((step.name, number)):
                height, width = gather.target.map_shape
                kept[_kept_as(gather)] = height * width * clean[name].shape[1] * clean[name].itemsize
        if step.name == cut:
            break
    return sum(kept.values())


def _kept_as(gather: WindowGather) -> object:
    """Key of the clean maps; steps that read a map with the same padding share one copy."""
    rows, columns = gather.window.rows, gather.window.columns
    padding = (rows.before, rows.after, columns.before, columns.after)
    return gather.name, padding, gather.window.fill

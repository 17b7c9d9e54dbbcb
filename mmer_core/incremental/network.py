"""A network that is given what changed, and computes what that changes.

Exact to float rounding: a window holds every position that a changed pixel can influence, so whatever lies
outside all windows of a candidate is what it is for the clean image.
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
    """A lowered network, computed in windows as far as ``cut`` and densely behind it.

    Args:
        program: The lowered network.
        layout: Its windows.
        cut: The last step that is computed in windows, one of ``program.cuts``; or the input itself, ``program.source``.
        rest: The network behind the cut, ``(B, C, H, W)`` to ``(B, S)``.
        images: How many clean images are kept at a time.
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
        """Keep the clean maps of ``image`` ``(1, 3, H, W)`` as number ``slot``, below ``images``."""
        maps = {self._source: image.contiguous(memory_format=torch.channels_last)}
        for step in self._steps:
            for number, name in enumerate(step.inputs):
                if cutting := self._layout.cuttings.get((step.name, number)):
                    self._keep(_kept_as(cutting), slot, pad(maps[name], cutting.window))
            maps[step.name] = run_densely(step, maps)
            self._forget(maps, step)
        self._keep(self._cut, slot, maps[self._cut])

    def __call__(self, slots: Tensor, pixels: Tensor, values: Tensor) -> Tensor:
        """Evaluate candidates.

        Args:
            slots: ``(B,)`` int64, the remembered image of each.
            pixels: ``(B, K, 2)`` int64, ``(y, x)`` of what changed.
            values: ``(B, K, 3)``, what the image holds there now, normalised.

        Returns:
            ``(B, S)``, what the network says of the changed images.
        """
        changed = self.windows(slots, pixels, values)
        return self._rest(lay_over(self._clean[self._cut], self.area, slots, pixels, changed))

    def windows(self, slots: Tensor, pixels: Tensor, values: Tensor) -> Tensor:
        """``(B * K, C, h, w)``, channels-last: what every pixel of the candidates can influence at the cut.

        Windows of one candidate that overlap agree where they do. Arguments as of `__call__`.
        """
        maps = {self._source: values.reshape(-1, values.shape[2], 1, 1)}
        for step in self._steps:
            inputs = []
            for number, name in enumerate(step.inputs):
                cutting = self._layout.cuttings.get((step.name, number))
                if cutting is None:
                    inputs.append(maps[name])
                else:
                    inputs.append(cutting(self._clean[_kept_as(cutting)], slots, pixels, maps[name]))
            maps[step.name] = step.apply(*inputs)
            self._forget(maps, step)
        return maps[self._cut]

    @property
    def area(self) -> Area:
        """Where the windows at the cut lie."""
        return self._layout.areas[self._cut]

    def clean_map(self, slot: int) -> Tensor:
        """``(H * W, C)``, the map at the cut of a remembered image."""
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
    """The step's whole output, from whole ``maps``."""
    inputs = [maps[name] for name in step.inputs]
    return step.apply(pad(inputs[0], step.window) if step.window is not None else inputs[0], *inputs[1:])


def pad(maps: Tensor, window: Window) -> Tensor:
    """``maps`` with the padding of ``window`` around them."""
    if window.unpadded:
        return maps
    rows, columns = window.rows, window.columns
    return F.pad(maps, (columns.before, columns.after, rows.before, rows.after), value=window.fill)


def bytes_kept(program: Program, layout: Layout, cut: str, clean: dict[str, Tensor]) -> int:
    """Memory of the clean maps of one image, in bytes; ``clean`` holds the map of the input and of each step."""
    kept: dict[object, int] = {cut: clean[cut].nbytes}
    for step in program.steps:
        for number, name in enumerate(step.inputs):
            if cutting := layout.cuttings.get((step.name, number)):
                height, width = cutting.target.map_shape
                kept[_kept_as(cutting)] = height * width * clean[name].shape[1] * clean[name].itemsize
        if step.name == cut:
            break
    return sum(kept.values())


def _kept_as(cutting: WindowGather) -> object:
    """Clean maps are kept once for all steps that read them with the same padding."""
    rows, columns = cutting.window.rows, cutting.window.columns
    padding = (rows.before, rows.after, columns.before, columns.after)
    return cutting.name, padding, cutting.window.fill

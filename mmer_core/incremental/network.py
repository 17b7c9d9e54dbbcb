"""A network that recomputes only what a change influences.

Exact up to float rounding: a window contains every position that a changed pixel can influence, so everything
outside a candidate's windows is as in the clean image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmer_core.incremental.layers import Window
from mmer_core.incremental.layout import Layout
from mmer_core.incremental.lowering import Program
from mmer_core.incremental.patches import Area, WindowGather, lay_over, repeated_positions, rows_and_columns
from mmer_core.incremental.reading import Step
from mmer_core.incremental.spans import CONSTANT


class Windowed(nn.Module):
    """A lowered network as a function of changed pixels and of the clean image's maps: in windows up to ``cut``, densely after it.

    Traced once, it serves candidates of one ``K`` in batches of any size.

    Args:
        program: The lowered network.
        layout: Its windows.
        cut: The last step to compute in windows, one of ``program.cuts``; or the input itself, ``program.source``.
        rest: The network after the cut, ``(B, C, H, W)`` to ``(B, S)``.
        with_windows: Whether it returns the windows as well, so that the maps of a candidate can be made of those of its image.

    Attributes:
        keys: The names of the clean maps that it reads, in order.
        returned: The names of the maps whose windows it returns.
    """

    def __init__(
        self,
        program: Program,
        layout: Layout,
        cut: str,
        rest: Callable[[Tensor], Tensor],
        with_windows: bool = False,
    ) -> None:
        super().__init__()
        names = [program.source, *(step.name for step in program.steps)]
        self.steps, self.layout = program.steps[: names.index(cut)], layout
        self.source, self.cut, self.rest = program.source, cut, rest
        self._last_reader = {name: step.name for step in self.steps for name in step.inputs}
        gathers = [gather for step in self.steps for gather in self.gathers(step) if gather]
        self.keys: tuple[Kept, ...] = (*dict.fromkeys(map(kept_as, gathers)), Kept(cut))
        self.fixed = program.fixed
        self.returned = tuple(dict.fromkeys(key.name for key in self.changing)) if with_windows else ()

    def forward(
        self, slots: Tensor, pixels: Tensor, values: Tensor, *clean: Tensor
    ) -> Tensor | tuple[Tensor, ...]:
        """Evaluate candidates.

        Args:
            slots: ``(B,)`` int32, the row of each candidate's image in the clean maps.
            pixels: ``(B, K, 2)`` int32, ``(y, x)`` of the changed pixels.
            values: ``(B, K, 3)``, the new values of these pixels, normalised.
            clean: ``(images, H' * W', C)`` each, the maps named by ``keys``.

        Returns:
            ``(B, S)``, the network's output for the changed images; and, ``with_windows``, the windows
            ``(B * K * h * w, C)`` of every map in ``returned``.
        """
        maps = self._computed(slots, pixels, values, clean)
        scores = self.rest(lay_over(clean[-1], self.area, slots, pixels, maps[self.cut]))
        if not self.returned:
            return scores
        return scores, *(maps[name].permute(0, 2, 3, 1).flatten(0, 2) for name in self.returned)

    def windows(self, slots: Tensor, pixels: Tensor, values: Tensor, clean: Sequence[Tensor]) -> Tensor:
        """``(B * K, C, h, w)``, channels-last: everything that each changed pixel can influence at the cut.

        Overlapping windows of one candidate agree where they overlap. Arguments as for `forward`.
        """
        return self._computed(slots, pixels, values, clean)[self.cut]

    def _computed(
        self, slots: Tensor, pixels: Tensor, values: Tensor, clean: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Windows by the names of their maps, of all that are read after this."""
        kept = dict(zip(self.keys, clean, strict=True))
        # A copy, into which a network may write.
        maps = {self.source: values.reshape(-1, values.shape[2], 1, 1).clone()}
        for step in self.steps:
            inputs = []
            for name, gather in zip(step.inputs, self.gathers(step), strict=True):
                changed = None if name in self.fixed else maps[name]
                inputs.append(gather(kept[kept_as(gather)], slots, pixels, changed) if gather else maps[name])
            maps[step.name] = step.apply(*inputs)
            self.forget(maps, step)
        return maps

    @property
    def area(self) -> Area:
        """The positions of the windows at the cut."""
        return self.layout.areas[self.cut]

    @property
    def changing(self) -> list["Kept"]:
        """The clean maps that are not the same for all images."""
        return [key for key in self.keys if key.name not in self.fixed]

    def gathers(self, step: Step) -> list[WindowGather | None]:
        """How the windows of each input are gathered; None where they are read as they are."""
        return [self.layout.gathers.get((step.name, number)) for number in range(len(step.inputs))]

    def forget(self, maps: dict[str, Tensor], step: Step) -> None:
        """Drop what no later step reads."""
        for name in set(step.inputs) - self.fixed.keys():
            if self._last_reader[name] == step.name and name not in self.returned:
                del maps[name]


class IncrementalNetwork:
    """A network that evaluates candidates of clean images whose maps it keeps.

    Args:
        windowed: The network.
        images: Number of clean images to keep.
        run: Computes what ``windowed`` does; that itself where left out.
    """

    def __init__(self, windowed: Windowed, images: int, run: Callable[..., Any] | None = None) -> None:
        self._windowed, self._images, self._run = windowed, images, run or windowed
        self._clean: dict[Kept, Tensor] = {}
        self._repeats: dict[
            Kept, tuple[Tensor, Tensor]
        ] = {}  # positions of padding, and those that they repeat

    def remember(self, slot: int, image: Tensor) -> None:
        """Keep the clean maps of ``image`` ``(1, 3, H, W)`` in a slot, ``0 <= slot < images``."""
        network = self._windowed
        maps = {network.source: image.contiguous(memory_format=torch.channels_last), **network.fixed}
        for step in network.steps:
            for name, gather in zip(step.inputs, network.gathers(step), strict=True):
                if gather:
                    self._keep(kept_as(gather), slot, pad(maps[name], gather.window))
            maps[step.name] = run_densely(step, maps)
            network.forget(maps, step)
        self._keep(network.keys[-1], slot, maps[network.cut])

    def __call__(self, slots: Tensor, pixels: Tensor, values: Tensor) -> tuple[Tensor, list[Tensor]]:
        """``(B, S)`` of candidates, and the windows that the network returns, ``(B, K * h * w, C)`` each; arguments as for
        `Windowed.forward`."""
        found = self._run(slots, pixels, values, *self.maps)
        scores, *windows = [found] if isinstance(found, Tensor) else found
        return scores, [each.view(len(slots), -1, each.shape[1]) for each in windows]

    def write(self, slots: Tensor, pixels: Tensor, windows: Sequence[Tensor]) -> None:
        """Make the maps of candidates those of their images.

        Args:
            slots: ``(B,)`` int32, all different.
            pixels: ``(B, K, 2)`` int32, the pixels that the candidates change.
            windows: ``(B, K * h * w, C)`` each, as they were returned.
        """
        of_map = dict(zip(self._windowed.returned, windows, strict=True))
        for key in self._windowed.changing:
            kept, area = self._clean[key], self._windowed.layout.areas[key.name]
            down, right = rows_and_columns(area.at(pixels), area.shape)
            (top, bottom, left, over), (height, width) = key.padding, area.map_shape
            down, right, height, width = down + top, right + left, top + height + bottom, left + width + over
            cells = (
                down[..., :, None] * width
                + right[..., None, :]
                + slots[:, None, None, None] * (height * width)
            )
            if key.cuts_off:
                inside = ((down >= 0) & (down < height))[..., :, None] & ((right >= 0) & (right < width))[
                    ..., None, :
                ]
                cells = torch.where(inside, cells, self._images * height * width)
            kept.flatten(0, 1).index_copy_(0, cells.flatten().long(), of_map[key.name].flatten(0, 1))
            if key in self._repeats:
                into, of = self._repeats[key]
                kept[slots[:, None], into] = kept[slots[:, None], of]

    def windows(self, slots: Tensor, pixels: Tensor, values: Tensor) -> Tensor:
        """As `Windowed.windows`."""
        return self._windowed.windows(slots, pixels, values, self.maps)

    @property
    def maps(self) -> tuple[Tensor, ...]:
        """The clean maps, in the order of `Windowed.keys`, of all slots."""
        return tuple(self._clean[key][: self._images] for key in self._windowed.keys)

    @property
    def area(self) -> Area:
        """The positions of the windows at the cut."""
        return self._windowed.area

    def clean_map(self, slot: int) -> Tensor:
        """``(H * W, C)``, the map at the cut of an image in a slot."""
        return self._clean[self._windowed.keys[-1]][slot]

    def _keep(self, key: "Kept", slot: int, maps: Tensor) -> None:
        rows = maps.permute(0, 2, 3, 1).flatten(1, 2)  # (1, H * W, C)
        if key not in self._clean:
            # Behind the slots is one for what is written outside of a map that is cut off.
            self._clean[key] = rows.new_empty(self._images + key.cuts_off, *rows.shape[1:])
            if key.mode != CONSTANT:
                repeated = key.repeated(self._windowed.layout.areas[key.name].map_shape).to(rows.device)
                into = (repeated != torch.arange(len(repeated), device=rows.device)).nonzero()[:, 0]
                self._repeats[key] = into, repeated[into]
        self._clean[key][slot] = rows[0]


def run_densely(step: Step, maps: dict[str, Tensor]) -> Tensor:
    """The step's complete output, from complete ``maps``."""
    inputs = [maps[name] for name in step.inputs]
    return step.apply(pad(inputs[0], step.window) if step.window is not None else inputs[0], *inputs[1:])


def pad(maps: Tensor, window: Window) -> Tensor:
    """``maps`` padded as ``window`` requires."""
    if window.unpadded:
        return maps
    top, bottom, left, right = window.padding
    value = window.fill if window.mode == CONSTANT else None
    return F.pad(maps, (left, right, top, bottom), window.mode, value)


def bytes_kept(program: Program, layout: Layout, cut: str, clean: dict[str, Tensor]) -> int:
    """Memory of the clean maps of one image, in bytes; ``clean`` has the map of the input and of each step."""
    kept = {Kept(cut): clean[cut].nbytes}
    for step in program.steps:
        for number, name in enumerate(step.inputs):
            if gather := layout.gathers.get((step.name, number)):
                height, width = gather.target.map_shape
                kept[kept_as(gather)] = height * width * clean[name].shape[1] * clean[name].itemsize
        if step.name == cut:
            break
    return sum(kept.values())


@dataclass(frozen=True)
class Kept:
    """The key of a clean map: its name, its padding (top, bottom, left, right), and what is there."""

    name: str
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    fill: float = 0.0
    mode: str = CONSTANT

    @property
    def cuts_off(self) -> bool:
        """Whether a part of the map is not kept."""
        return min(self.padding) < 0

    def repeated(self, shape: tuple[int, int]) -> Tensor:
        """``(H' * W',)``: for each position of the padded map ``(H, W)`` the one inside it that has the same numbers."""
        top, _, left, right = self.padding
        rows, columns = repeated_positions(shape, self.padding, self.mode)
        return ((rows + top)[:, None] * (left + shape[1] + right) + columns + left).flatten()


def kept_as(gather: WindowGather) -> Kept:
    """Key of the clean maps; steps that read a map with the same padding share one copy."""
    window = gather.window
    return Kept(gather.name, window.padding, window.fill, window.mode)

"""The windows of every map that the steps of a network need, for one image size."""

from torch import device

from mmer_core.incremental.layers import Window
from mmer_core.incremental.lowering import Program
from mmer_core.incremental.patches import Area, WindowGather
from mmer_core.incremental.reading import Step
from mmer_core.incremental.spans import grow, unite, whole


class Layout:
    """The windows of every step.

    Attributes:
        areas: For each map, the rectangle that a pixel can influence.
        gathers: For each step and input number, how to gather the windows to read; an input without an entry
            is read unchanged.
    """

    def __init__(self, program: Program, size: tuple[int, int], where: device) -> None:
        self.areas = {program.source: Area(whole(size[0], where), whole(size[1], where))}
        self.gathers: dict[tuple[str, int], WindowGather] = {}
        self._fixed = program.fixed
        for step in program.steps:
            self._plan(step)

    def _plan(self, step: Step) -> None:
        sources = [self.areas[name] for name in step.inputs if name not in self._fixed]
        window = step.window or Window.square(1)
        if step.window is not None:
            rows, columns = sources[0].rows, sources[0].columns
            area = Area(grow(rows, window.rows, window.mode), grow(columns, window.columns, window.mode))
        else:
            area = Area(unite([each.rows for each in sources]), unite([each.columns for each in sources]))
        self.areas[step.name] = Area(
            area.rows.enlarged(step.enlarges[0]), area.columns.enlarged(step.enlarges[1])
        )
        for number, name in enumerate(step.inputs):
            if name in self._fixed:
                self.gathers[step.name, number] = WindowGather(name, window, None, area)
            elif step.window is not None or not self.areas[name].same(area):
                self.gathers[step.name, number] = WindowGather.for_outputs(
                    name, window, self.areas[name], area
                )

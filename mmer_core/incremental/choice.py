"""Where to stop computing in windows: the cut with the least estimated work.

The estimate counts multiply-adds and the numbers that are moved, and it depends on nothing but the network
and K. A stop-watch would decide differently from one run to the next, and two orders of summation round
differently, so that a search could take another path; ``benchmarks.attack`` holds the estimate against the
stop-watch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mmer_core.incremental.lowering import Program
from mmer_core.incremental.patches import Area, WindowGather

# In multiply-adds, as measured with OpenVINO's dense pass and PyTorch's windows on one core with AVX-512.
_DENSE_NUMBER = 40  # to write one number of a dense map and to read it again
_WINDOW_NUMBER = 100  # to cut out or paste one number of a window
_CUT_NUMBER = 150  # to copy one number of the map at the cut and to hand it to another runtime


@dataclass(frozen=True)
class Work:
    """Estimated cost of one candidate up to and including a step, in multiply-adds.

    Attributes:
        windows: Computed in windows.
        dense: Computed densely.
    """

    windows: float
    dense: float


def estimate(
    program: Program,
    areas: Mapping[str, Area],
    cuttings: Mapping[tuple[str, int], WindowGather],
    clean: Mapping[str, Tensor],
    pixels: int,
) -> dict[str, Work]:
    """Work up to each step, summed in order.

    Args:
        program: The network.
        areas, cuttings: How each step is computed in windows.
        clean: The map ``(1, C, H, W)`` of the input and of each step.
        pixels: ``K``.
    """
    windows = dense = 0.0
    works = {}
    for step in program.steps:
        area, (channels, height, width) = areas[step.name], clean[step.name].shape[1:]
        outputs = pixels * area.shape[0] * area.shape[1] * channels
        windows += outputs * (step.multiply_adds + _DENSE_NUMBER)
        # Runtimes apply a function of one number in passing, when the layer before it writes.
        moved = _DENSE_NUMBER if step.multiply_adds > 1 or len(step.inputs) > 1 or step.window else 0
        dense += height * width * channels * (step.multiply_adds + moved)
        for number, name in enumerate(step.inputs):
            if cutting := cuttings.get((step.name, number)):
                windows += _WINDOW_NUMBER * clean[name].shape[1] * _moved(cutting, pixels)
        works[step.name] = Work(windows, dense)
    return works


def best_cut(program: Program, works: Mapping[str, Work], clean: Mapping[str, Tensor]) -> str | None:
    """The cut after which to go on densely; None if nothing beats computing densely from the start."""
    saved = {
        name: works[name].dense - works[name].windows - _CUT_NUMBER * clean[name].numel()
        for name in program.cuts
    }
    best = max(saved, key=saved.__getitem__, default=None)
    return best if best is not None and saved[best] > 0 else None


def _moved(cutting: WindowGather, pixels: int) -> float:
    """Positions cut out, and pasted by pixels that are near each other by chance."""
    (height, width), (own_height, own_width) = cutting.target.shape, cutting.source.shape
    whole_height, whole_width = cutting.target.map_shape
    meeting = min(1.0, (height + own_height) * (width + own_width) / (whole_height * whole_width))
    return pixels * (height * width + own_height * own_width * (1 + 2 * (pixels - 1) * meeting))

"""Up to which layer to compute in windows: the cut with the least estimated work.

The estimate counts multiply-adds and moved numbers, and depends only on the network and K. Measured times would
give different cuts from run to run, and since different orders of summation round differently, a search could take
another path.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mmer_core.incremental.lowering import Program
from mmer_core.incremental.patches import Area, WindowGather

# In multiply-adds, as measured with OpenVINO on one core with AVX-512; `benchmarks.attack_cuts` compares the choice with other cuts.
_DENSE_NUMBER = 40  # writing one number of a dense map and reading it again
_WINDOW_NUMBER = 140  # gathering or pasting one number of a window
_CUT_NUMBER = 220  # copying one number of the map at the cut and passing it to another runtime


@dataclass(frozen=True)
class Work:
    """Estimated cost of one candidate up to and including a step, in multiply-adds.

    Attributes:
        windows: Cost if computed in windows.
        dense: Cost if computed densely.
    """

    windows: float
    dense: float


def estimate(
    program: Program,
    areas: Mapping[str, Area],
    gathers: Mapping[tuple[str, int], WindowGather],
    clean: Mapping[str, Tensor],
    pixels: int,
) -> dict[str, Work]:
    """Work up to each step, accumulated in order.

    Args:
        program: The network.
        areas, gathers: The windows of each step.
        clean: The map ``(1, C, H, W)`` of the input and of each step.
        pixels: ``K``.
    """
    windows = dense = 0.0
    works = {}
    for step in program.steps:
        area, (channels, height, width) = areas[step.name], clean[step.name].shape[1:]
        outputs = pixels * area.shape[0] * area.shape[1] * channels
        windows += outputs * (step.multiply_adds + _DENSE_NUMBER)
        # Runtimes fuse elementwise functions into the layer before.
        moved = _DENSE_NUMBER if step.multiply_adds > 1 or len(step.inputs) > 1 or step.window else 0
        dense += height * width * channels * (step.multiply_adds + moved)
        for number, name in enumerate(step.inputs):
            if gather := gathers.get((step.name, number)):
                windows += _WINDOW_NUMBER * clean[name].shape[1] * _moved(gather, pixels)
        works[step.name] = Work(windows, dense)
    return works


def best_cut(program: Program, works: Mapping[str, Work], clean: Mapping[str, Tensor]) -> str | None:
    """The cut after which to compute densely; None if dense computation from the start is cheapest."""
    saved = {
        name: works[name].dense - works[name].windows - _CUT_NUMBER * clean[name].numel()
        for name in program.cuts
    }
    best = max(saved, key=saved.__getitem__, default=None)
    return best if best is not None and saved[best] > 0 else None


def _moved(gather: WindowGather, pixels: int) -> float:
    """Positions gathered, and positions pasted because pixels are close to each other by chance."""
    height, width = gather.target.shape
    if gather.source is None:
        return pixels * height * width
    own_height, own_width = gather.source.shape
    whole_height, whole_width = gather.target.map_shape
    meeting = min(1.0, (height + own_height) * (width + own_width) / (whole_height * whole_width))
    return pixels * (height * width + own_height * own_width * (1 + 2 * (pixels - 1) * meeting))

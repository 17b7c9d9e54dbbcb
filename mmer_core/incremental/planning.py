"""How a network scores sparse candidates: where it is computed in windows, and by what densely."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, fx, nn

from mmer_core.incremental.choice import best_cut, estimate
from mmer_core.incremental.layers import IsNotLocal
from mmer_core.incremental.layout import Layout
from mmer_core.incremental.lowering import Program, behind, lower
from mmer_core.incremental.network import IncrementalNetwork, bytes_kept, run_densely
from mmer_core.runtimes import Compiled, Runtime, compile_network
from mmer_core.tracing import tracing

Method = Literal["auto", "dense", "incremental"]
BATCH = 16
"""Candidates in one pass, always: kernels that depend on the batch cannot make results depend on who shares it."""
_EARLY = 100  # a pixel's windows in the early layers cost at most this part of a dense pass


@dataclass(frozen=True, eq=False)
class Plan:
    """How candidates of one ``K`` are scored.

    Attributes:
        cut: The step behind which the network is computed densely; None for densely throughout.
        dense: What computes the dense part.
        start: Begins to compute the windows, with room for the clean maps of so many images; None for
            densely throughout.
        bytes_per_image: Memory of the clean maps of one image.
        sentence: All of it for people.
    """

    cut: str | None
    dense: Compiled
    start: Callable[[int], IncrementalNetwork] | None
    bytes_per_image: int
    sentence: str


@dataclass(frozen=True, eq=False)
class Split:
    """A network in two: early layers of which one pixel changes little, and the rest.

    Attributes:
        start: Begins to compute the early layers in windows, with room for the clean map of one image.
        late: The map behind them, ``(B, C, H, W)``, to what the network returns; differentiable.
    """

    start: Callable[[], IncrementalNetwork]
    late: nn.Module


class Planner:
    """Plans for one network, shared by everything that evaluates it, in any thread.

    Densely, or incrementally: recomputing only what the changed pixels can influence, until that is most of
    the map. Which of them, and how far, follows from the network and ``K`` alone.

    Args:
        module: ``(B, 3, H, W)`` normalised floats to ``(B, S)``; it is copied as it is now, in evaluation
            mode.
        normalise: ``(B, 3, h, w)`` floats in 0..255 to normalised ones, position by position.
        size: ``(H, W)``.
        device: Where the module is.
        method: ``auto`` estimates what is faster; ``incremental`` computes in windows wherever it can.
        runtime: What computes the dense part.

    Attributes:
        reason: Why nothing can be computed incrementally, as a sentence, or None.
    """

    def __init__(
        self,
        module: nn.Module,
        normalise: Callable[[Tensor], Tensor],
        size: tuple[int, int],
        device: torch.device,
        *,
        method: Method = "auto",
        runtime: Runtime = "auto",
    ) -> None:
        self.reason: str | None = None
        self.size, self.device = size, device
        self._module, self._normalise = module.eval(), normalise
        self._method, self._runtime = method, runtime
        self._lock = threading.RLock()
        self._plans: dict[int, Plan] = {}
        self._compiled: dict[str | None, Compiled] = {}
        self._program: Program | None = None
        if method != "dense":
            with tracing():
                self._lower()

    @property
    def cuts(self) -> tuple[str, ...]:
        """Steps behind which the network may go over to dense computing, in order."""
        return self._program.cuts if self._program else ()

    def plan(self, pixels: int) -> Plan:
        """How candidates of ``K = pixels`` are scored; made at the first call."""
        with self._lock:
            if pixels not in self._plans:
                with tracing():
                    self._plans[pixels] = self._make(self._best_cut(pixels))
            return self._plans[pixels]

    def use(self, pixels: int, cut: str | None) -> Plan:
        """Score candidates of ``K = pixels`` with this cut, one of ``cuts``, or None for densely throughout."""
        with self._lock, tracing():
            self._plans[pixels] = self._make(cut)
            return self._plans[pixels]

    @cached_property
    def split(self) -> Split:
        """The network behind the last layer as far as which one pixel costs next to nothing.

        Where nothing is local, that is before the first.
        """
        program = self._program or Program(fx.GraphModule({}, fx.Graph()), "image", (), (), "")
        layout = self._layout if self._program else Layout(program, self.size, self.device)
        cut = self._early_cut() or program.source
        late = self._module if cut == program.source else behind(program, cut)
        return Split(lambda: IncrementalNetwork(program, layout, cut, late, images=1), late)

    def input(self, images: Tensor) -> Tensor:
        """``(B, h, w, 3)`` uint8 to what the module takes, ``(B, 3, h, w)`` on the device."""
        return self._normalise(images.to(self.device).permute(0, 3, 1, 2).float())

    def _lower(self) -> None:
        try:
            self._program = lower(self._module)
            self._layout = Layout(self._program, self.size, self.device)
            self._shapes = self._clean_maps(self._program)
        except IsNotLocal as reason:
            self._refuse(str(reason))
            return
        if not self._program.cuts:
            self._refuse(f"it stops being local at {self._program.stopped}, before anything can be saved")

    def _refuse(self, reason: str) -> None:
        self.reason = f"the network is computed densely, because {reason}"
        self._program = None

    def _clean_maps(self, program: Program) -> dict[str, Tensor]:
        """Every local map of a black image; used for its shape only."""
        black = torch.zeros(1, *self.size, 3, dtype=torch.uint8)
        with torch.inference_mode():
            maps = {program.source: self.input(black)}
            for step in program.steps:
                maps[step.name] = run_densely(step, maps)
        return maps

    def _best_cut(self, pixels: int) -> str | None:
        if self._program is None:
            return None
        layout = self._layout
        works = estimate(self._program, layout.areas, layout.cuttings, self._shapes, pixels)
        cut = best_cut(self._program, works, self._shapes)
        return self._program.cuts[0] if cut is None and self._method == "incremental" else cut

    def _early_cut(self) -> str | None:
        if self._program is None:
            return None
        layout = self._layout
        works = estimate(self._program, layout.areas, layout.cuttings, self._shapes, pixels=1)
        whole = works[self._program.steps[-1].name].dense
        cheap = [name for name in self._program.cuts if works[name].windows * _EARLY <= whole]
        return cheap[-1] if cheap else None

    def _make(self, cut: str | None) -> Plan:
        if cut is None or self._program is None:
            example = self.input(torch.zeros(BATCH, *self.size, 3, dtype=torch.uint8))
            dense = self._compile(None, self._module, example)
            why = self.reason or "every candidate is computed densely"
            return Plan(None, dense, None, 0, f"{why}; {dense.sentence}")
        program, layout = self._program, self._layout
        example = self._shapes[cut].expand(BATCH, -1, -1, -1)
        dense = self._compile(cut, behind(program, cut), example)
        (h, w), (height, width) = layout.areas[cut].shape, layout.areas[cut].map_shape
        return Plan(
            cut,
            dense,
            lambda images: IncrementalNetwork(program, layout, cut, dense.run, images),
            bytes_kept(program, layout, cut, self._shapes),
            f"only what changed is computed as far as {cut}, where a pixel reaches {h} x {w} of "
            f"{height} x {width}; {dense.sentence}",
        )

    def _compile(self, cut: str | None, module: nn.Module, example: Tensor) -> Compiled:
        if cut not in self._compiled:
            self._compiled[cut] = compile_network(module, example, self._runtime)
        return self._compiled[cut]

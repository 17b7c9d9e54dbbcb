"""How a network scores sparse candidates: which part is computed in windows, and what computes the dense part."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from mmer_core.errors import out_of_memory
from mmer_core.evaluation_mode import evaluating
from mmer_core.incremental.choice import Work, best_cut, estimate
from mmer_core.incremental.layers import IsNotLocal
from mmer_core.incremental.layout import Layout
from mmer_core.incremental.lowering import Program, behind, lower
from mmer_core.incremental.network import IncrementalNetwork, Windowed, bytes_kept, run_densely
from mmer_core.incremental.random_numbers import draws
from mmer_core.runtimes import (
    Compiled,
    Refused,
    Runtime,
    compile_for_openvino,
    compile_network,
    convert_network,
)
from mmer_core.tracing import running, tracing
from mmer_core.transfer import to_device

Method = Literal["auto", "dense", "incremental"]
_SMALL, _LARGE = 64 * 64, 128 * 128  # pixels
_DENSE, _WINDOWS = (16, 16, 4), (16, 16, 8)
"""Most candidates in a pass, see `Plan`, of images that are smaller than `_SMALL`, than `_LARGE`, and of larger ones."""
_ON_DEVICE = 64
"""The same on other devices than the CPU, for which a few are too little work."""
_AROUND = 1e8
"""What surrounds a call, in multiply-adds: 5 ms on a core that does 20 of them a nanosecond."""
_TOGETHER = (8, 16, 32, 64)
_TOLERANCE = 1e-3
"""Largest difference of scores that rounding explains, as a share of the largest score."""
_SLOPES_TOLERANCE = 1e-2
"""The same of gradients, as a share of their norm: rounding may switch a few rectifiers."""
_EARLY = 100  # a pixel's windows in the early layers cost at most this fraction (1 / _EARLY) of a dense pass


@dataclass(frozen=True, eq=False)
class Plan:
    """How candidates of one ``K`` are scored.

    Attributes:
        cut: The step after which the network is computed densely; None: densely throughout.
        dense: The compiled network, where it is computed densely throughout.
        start: Makes the network for candidates, with slots for this many clean images; None: densely throughout.
        bytes_per_image: Memory of the clean maps of one image.
        sentence: A description for people.
        batch: Most candidates in a pass: so few that their maps stay in the processor's cache.
        any_size: Whether a pass may have fewer. Otherwise it is filled up to ``batch``, because kernels may depend on its size,
            and results must not depend on which candidates share a pass.
    """

    cut: str | None
    dense: Compiled | None
    start: Callable[[int], IncrementalNetwork] | None
    bytes_per_image: int
    sentence: str
    batch: int
    any_size: bool


@dataclass(frozen=True, eq=False)
class Split:
    """A network in two parts: early layers, in which one pixel influences little, and the rest.

    Attributes:
        start: Makes the windowed early layers, with a slot for one clean image.
        late: The map after them, ``(B, C, H, W)``, to the network's output; differentiable.
    """

    start: Callable[[], IncrementalNetwork]
    late: nn.Module


class Planner:
    """Plans for one network, shared by all of its evaluators; thread-safe.

    A plan is dense or incremental: recomputing only what the changed pixels can influence, until that is most of
    the map. The choice depends only on the network and ``K``.

    Args:
        module: ``(B, 3, H, W)`` normalised floats to ``(B, S)``; its current state is copied, in evaluation
            mode.
        normalise: ``(B, 3, h, w)`` floats in 0..255 to normalised ones, applied to each position independently.
        size: ``(H, W)``.
        device: The module's device.
        method: ``auto`` chooses by estimated cost; ``incremental`` computes in windows wherever possible.
        runtime: The runtime of the dense part.

    Attributes:
        module: The network.
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
        self.module, self._normalise = evaluating(module), normalise
        self._method, self._runtime = method, runtime
        self._lock = threading.RLock()
        self._plans: dict[tuple[int, bool], Plan] = {}
        self._cuts: dict[int, str | None] = {}
        self._agreeing: set[str] = set()
        self._compiled: dict[str | None, Compiled] = {}
        self._windowed: dict[tuple[str, bool], tuple[Windowed, Callable[..., Any] | None, str]] = {}
        self._program: Program | None = None
        if method != "dense":
            with tracing():
                self._lower()

    @property
    def cuts(self) -> tuple[str, ...]:
        """Steps after which the network may be computed densely, in order."""
        return self._program.cuts if self._program else ()

    @property
    def layers(self) -> tuple[int, int]:
        """Convolutions and linear layers that may be computed in windows, and all."""
        return self._program.layers if self._program else (0, 0)

    @property
    def stopped(self) -> str:
        """The first operation that is not local."""
        return self._program.stopped if self._program else ""

    @property
    def most_windows(self) -> int:
        """Most candidates in a pass with windows."""
        return self._batch(_WINDOWS)

    def plan(self, pixels: int, converted: Path | None = None, *, with_windows: bool = False) -> Plan:
        """The plan for candidates of ``K = pixels``; made at the first call, with what `convert` wrote for it.

        Args:
            pixels: ``K``.
            converted: Folder with what `convert` wrote, if anything.
            with_windows: Whether the networks return windows, see `Windowed`.
        """
        with self._lock:
            if (pixels, with_windows) not in self._plans:
                with tracing():
                    made = self._make(self._best_cut(pixels), converted, with_windows)
                    self._plans[pixels, with_windows] = made
            return self._plans[pixels, with_windows]

    def exchanges(self, usual: int) -> bool:
        """Whether candidates that exchange so many pixels of a set in use are scored faster on the base of that set; never on
        other devices than the CPU, which would wait to see what is in use."""
        return self.device.type == "cpu" and self._best_cut(2 * usual) is not None

    def bytes_per_image(self, pixels: int) -> int:
        """Memory of the maps that are kept of one image for candidates of ``K = pixels``; 0 where they are computed densely."""
        cut = self._best_cut(pixels)
        if cut is None or self._program is None:
            return 0
        return bytes_kept(self._program, self._layout, cut, self._shapes)

    def convert(self, pixels: int, folder: Path, *, with_windows: bool = False) -> str | None:
        """Write what OpenVINO runs of `plan` as `convert_network` does; the plan's cut."""
        with self._lock, tracing():
            cut = self._best_cut(pixels)
            if cut is None or self._program is None:
                convert_network(self.module, [self._dense_example()], folder)
            else:
                late = behind(self._program, cut)
                network = Windowed(self._program, self._layout, cut, late, with_windows)
                convert_network(network, self._examples(network)[0], folder)
            return cut

    def use(self, pixels: int, cut: str | None) -> Plan:
        """Use this cut for ``K = pixels``: one of ``cuts``, or None for dense computation throughout."""
        with self._lock:
            self._cuts[pixels] = self._confirmed(cut)
            for with_windows in (False, True):
                self._plans.pop((pixels, with_windows), None)
            return self.plan(pixels)

    def together(self, useful: float) -> int:
        """Candidates that are best scored in one call where passes may be of any size.

        What surrounds a call costs as much whatever is scored, so a search does better to propose ahead; but what is
        behind an improvement was scored for nothing. With a cost ``h`` around a call, ``w`` a candidate, ``n`` images and
        an improvement in one of ``q`` queries, ``sqrt(2 h n q / w)`` candidates cost least.

        Args:
            useful: ``n q``.
        """
        best = (2 * _AROUND * useful / self._multiply_adds) ** 0.5
        # A power of 2, so that it is one pass, or several of the largest size; the nearest one.
        return max((size for size in _TOGETHER if size <= best * 2**0.5), default=1)

    @cached_property
    def _multiply_adds(self) -> int:
        """Of the network, for one image; counted at the first call, and at least 1."""
        with FlopCounterMode(display=False) as counter, torch.inference_mode(), running():
            self.module(self.input(torch.zeros(1, *self.size, 3, dtype=torch.uint8)).contiguous())
        return max(1, counter.get_total_flops() // 2)

    @cached_property
    def dense(self) -> Plan:
        """The plan of computing everything densely; made at the first call."""
        with self._lock, tracing():
            return self._make(None)

    @cached_property
    def split(self) -> Split:
        """The network split after the last layer up to which the windows of one pixel are almost free.

        If no layer is local, or the rest has other gradients than the network, the split is before the first one.
        """
        program = self._program or Program(fx.GraphModule({}, fx.Graph()), "image", (), (), "")
        layout = self._layout if self._program else Layout(program, self.size, self.device)
        cut = self._confirmed(self._early_cut())
        if cut is None or not self._same_slopes(program):
            cut = program.source
        late = self.module if cut == program.source else behind(program, cut)
        windowed = Windowed(program, layout, cut, late)
        return Split(lambda: IncrementalNetwork(windowed, images=1), late)

    def input(self, images: Tensor) -> Tensor:
        """``(B, h, w, 3)`` uint8 to the module's input, ``(B, 3, h, w)`` on the device."""
        return self._normalise(to_device(images, self.device).permute(0, 3, 1, 2).float())

    def _lower(self) -> None:
        black = self.input(torch.zeros(1, *self.size, 3, dtype=torch.uint8)).contiguous()
        # Twice, in case that another thread of the process drew some the first time.
        if all(draws(lambda: self._tried(black), self.device) for _ in range(2)):
            # Once traced, some would be the same for all candidates.
            self._refuse("it draws random numbers")
            return
        try:
            self._program = lower(self.module, black)
            self._layout = Layout(self._program, self.size, self.device)
            self._shapes = self._clean_maps(self._program)
        except IsNotLocal as reason:
            self._refuse(str(reason))
            return
        except KeyError as missing:  # a step whose input none of them makes
            self._refuse(f"its map {missing} is not understood")
            return
        if not self._program.cuts:
            self._refuse(f"it stops being local at {self._program.stopped}, before anything can be saved")

    def _tried(self, example: Tensor) -> None:
        with torch.no_grad(), suppress(Exception):  # who asks for scores hears of it
            self.module(example)

    def _agrees(self, network: Windowed) -> bool:
        """Whether windows give what the network does by itself, for pixels that change in a random image.

        A graph can differ from the Python that it was traced from, by hooks of the whole network, say, or by other names of a map
        that is written into.
        """
        height, width = self.size
        generator = torch.Generator().manual_seed(0)
        image = self._noise(generator)
        places = torch.tensor(
            [[(0, 0), (height // 2, width // 2)], [(height - 1, width - 1), (height // 3, 0)]]
        )
        colours = torch.randint(0, 256, (2, 2, 3), dtype=torch.uint8, generator=generator)
        changed = image.repeat(2, 1, 1, 1)
        for one, at, shown in zip(changed, places, colours, strict=True):
            one[at[:, 0], at[:, 1]] = shown
        try:
            with torch.no_grad(), running():
                expected = self.module(self.input(changed).contiguous()).float()
                kept = IncrementalNetwork(network, images=1)
                kept.remember(0, self.input(image))
                values = self.input(colours[:, :, None]).permute(0, 2, 3, 1)[:, :, 0].contiguous()
                slots = torch.zeros(2, dtype=torch.int32, device=self.device)
                found = kept(slots, to_device(places, self.device).int(), values)[0]
        except Exception as error:  # whatever a network raises
            if isinstance(error, RuntimeError) and out_of_memory(error):
                raise
            return False
        return bool((found - expected).abs().max() <= _TOLERANCE * expected.abs().max())

    def _same_slopes(self, program: Program) -> bool:
        """Whether the traced network has the gradient of the network itself, at a random image.

        A backward pass that a `torch.autograd.Function` defines is not in the graph: a straight-through estimator would have none.
        """
        image = self.input(self._noise(torch.Generator().manual_seed(0)))

        def slope(network: nn.Module) -> Tensor:
            pixels = image.clone(memory_format=torch.contiguous_format).requires_grad_()
            scores = network(pixels.clone()).float()  # of a copy, because a network may write into its input
            weights = torch.randn(scores.shape, generator=torch.Generator().manual_seed(1))
            (found,) = torch.autograd.grad((scores * weights.to(scores.device)).sum(), pixels)
            return found

        try:
            with running(), torch.inference_mode(False), torch.enable_grad():
                expected, found = slope(self.module), slope(program.graph)
        except RuntimeError as error:  # no gradient
            if out_of_memory(error):
                raise
            return False
        return bool((found - expected).norm() <= _SLOPES_TOLERANCE * expected.norm())

    def _noise(self, generator: torch.Generator) -> Tensor:
        """A random image ``(1, H, W, 3)`` uint8."""
        return torch.randint(0, 256, (1, *self.size, 3), dtype=torch.uint8, generator=generator)

    def _refuse(self, reason: str) -> None:
        self.reason = f"the network is computed densely, because {reason}"
        self._program = None
        self._cuts.clear()

    def _clean_maps(self, program: Program) -> dict[str, Tensor]:
        """Every local map of a black image; only the shapes are used."""
        black = torch.zeros(1, *self.size, 3, dtype=torch.uint8)
        with torch.inference_mode():
            maps = {program.source: self.input(black), **program.fixed}
            for step in program.steps:
                maps[step.name] = run_densely(step, maps)
        return maps

    def _best_cut(self, pixels: int) -> str | None:
        try:
            return self._cuts[pixels]
        except KeyError:
            cut = self._cuts[pixels] = self._chosen(pixels)
            return cut

    def _chosen(self, pixels: int) -> str | None:
        program = self._program
        if program is None:
            return None
        cut = best_cut(program, self._works(program, pixels), self._shapes)
        return self._confirmed(program.cuts[0] if cut is None and self._method == "incremental" else cut)

    def _confirmed(self, cut: str | None) -> str | None:
        """A cut at which windows give what the network does by itself; None for others, and from then on for all."""
        program = self._program
        if cut is None or program is None:
            return None
        if cut not in self._agreeing:
            if not self._agrees(Windowed(program, self._layout, cut, behind(program, cut))):
                self._refuse("in windows it gives other numbers than by itself")
                return None
            self._agreeing.add(cut)
        return cut

    def _early_cut(self) -> str | None:
        if self._program is None:
            return None
        works = self._works(self._program, pixels=1)
        whole = works[self._program.steps[-1].name].dense
        cheap = [name for name in self._program.cuts if works[name].windows * _EARLY <= whole]
        return cheap[-1] if cheap else None

    def _works(self, program: Program, pixels: int) -> dict[str, Work]:
        return estimate(program, self._layout.areas, self._layout.gathers, self._shapes, pixels)

    def _make(self, cut: str | None, converted: Path | None = None, with_windows: bool = False) -> Plan:
        if cut is None or self._program is None:
            dense = self._compile(None, self.module, self._dense_example(), converted)
            why = self.reason or "every candidate is computed densely"
            return Plan(None, dense, None, 0, f"{why}; {dense.sentence}", self._batch(_DENSE), dense.any_size)
        network, run, runs = self._in_windows(self._program, cut, converted, with_windows)
        (h, w), (height, width) = network.area.shape, network.area.map_shape
        return Plan(
            cut,
            None,
            lambda images: IncrementalNetwork(network, images, run),
            bytes_kept(self._program, self._layout, cut, self._shapes),
            f"only what changed is computed as far as {cut}, where a pixel reaches {h} x {w} of "
            f"{height} x {width}; {runs}",
            self._batch(_WINDOWS),
            run is not None,
        )

    def _in_windows(
        self, program: Program, cut: str, converted: Path | None, with_windows: bool
    ) -> tuple[Windowed, Callable[..., Any] | None, str]:
        """The network, what computes all of it (None: PyTorch computes the windows), and a sentence."""
        if (cut, with_windows) not in self._windowed:
            late = behind(program, cut)
            network = Windowed(program, self._layout, cut, late, with_windows)
            made = self._with_openvino(network, converted) or self._with_pytorch(network, late)
            self._windowed[cut, with_windows] = made
        return self._windowed[cut, with_windows]

    def _with_openvino(
        self, network: Windowed, converted: Path | None
    ) -> tuple[Windowed, Callable[..., Any], str] | None:
        if self._runtime not in ("auto", "openvino") or self.device.type != "cpu":
            return None
        try:
            run = compile_for_openvino(network, self._examples(network), converted)
        except Refused:
            return None
        return network, run, "OpenVINO runs all of it"

    def _with_pytorch(self, network: Windowed, late: nn.Module) -> tuple[Windowed, None, str]:
        example = self._shapes[network.cut].expand(self._batch(_WINDOWS), -1, -1, -1)
        dense = self._compile(network.cut, late, example, None)
        assert self._program is not None
        again = Windowed(self._program, self._layout, network.cut, dense.run, bool(network.returned))
        return again, None, dense.sentence

    def _batch(self, of_sizes: tuple[int, int, int]) -> int:
        if self.device.type != "cpu":
            return _ON_DEVICE
        area = self.size[0] * self.size[1]
        return of_sizes[(area >= _SMALL) + (area >= _LARGE)]

    def _dense_example(self) -> Tensor:
        return self.input(torch.zeros(self._batch(_DENSE), *self.size, 3, dtype=torch.uint8))

    @torch.inference_mode()
    def _examples(self, network: Windowed) -> list[list[Tensor]]:
        """Candidates of images of noise; all sizes differ that may."""
        noise = torch.Generator().manual_seed(0)
        found = []
        for images, count, pixels in ((1, 3, 2), (2, 2, 1)):
            kept = IncrementalNetwork(network, images)
            for slot in range(images):
                kept.remember(slot, self.input(self._noise(noise)))
            slots = torch.randint(0, images, (count,), dtype=torch.int32, generator=noise)
            places = torch.rand(count, pixels, 2, generator=noise) * torch.tensor(self.size)
            colours = torch.randint(0, 256, (count, pixels, 1, 3), dtype=torch.uint8, generator=noise)
            values = self.input(colours).permute(0, 2, 3, 1)[:, :, 0].contiguous()
            found.append([slots, places.int(), values, *kept.maps])
        return [[each.clone() for each in inputs] for inputs in found]

    def _compile(
        self, cut: str | None, module: nn.Module, example: Tensor, converted: Path | None
    ) -> Compiled:
        if cut not in self._compiled:
            self._compiled[cut] = compile_network(module, example, self._runtime, converted)
        return self._compiled[cut]

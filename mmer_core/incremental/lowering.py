"""A torch module as a list of local steps: each output depends only on a neighbourhood of the input.

The module is traced symbolically (``torch.fx``), batch norms are folded into the convolutions before them,
and the nodes are read in order until one is not local. The nodes after that one are not analysed.
"""

import copy
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

from mmer_core.incremental.layers import POINTWISE, IsNotLocal, Layer, Window, read_window

_MERGES: dict[Any, Callable[..., Tensor]] = {
    operator.add: torch.add,
    operator.iadd: torch.add,
    operator.sub: torch.sub,
    operator.mul: torch.mul,
    operator.imul: torch.mul,
    torch.add: torch.add,
    torch.sub: torch.sub,
    torch.mul: torch.mul,
    torch.cat: lambda *maps: torch.cat(maps, dim=1),
}
_PADS = (nn.ZeroPad2d, nn.ConstantPad2d)


@dataclass(frozen=True, eq=False)
class Step:
    """One local operation.

    Attributes:
        name: Name of its output, that of the traced node.
        inputs: Names of the maps that it reads; several for sums and the like.
        window: The window that it reads along both axes; None if an output depends only on its own position.
        apply: The operation on ``(B, C, h, w)`` maps, which already include the padding of ``window``.
        multiply_adds: Per number of the output.
    """

    name: str
    inputs: tuple[str, ...]
    window: Window | None
    apply: Callable[..., Tensor]
    multiply_adds: int = 1


@dataclass(frozen=True, eq=False)
class Program:
    """The local beginning of a network.

    Attributes:
        graph: The traced network, in evaluation mode, with batch norms folded.
        source: Name of the input.
        steps: In the order of execution.
        cuts: Names of the steps that all data pass through: the network may be split after each.
        stopped: The node that ended the list, for messages: "linear (Linear)".
    """

    graph: fx.GraphModule
    source: str
    steps: tuple[Step, ...]
    cuts: tuple[str, ...]
    stopped: str


def lower(module: nn.Module) -> Program:
    """Trace ``module``, from one ``(B, C, H, W)`` map to one tensor, and read its local steps.

    Raises:
        IsNotLocal: It cannot be traced; the message says why.
    """
    try:
        # fuse() traces its result again, so it is a GraphModule despite its signature.
        graph = cast(fx.GraphModule, fuse(fx.symbolic_trace(copy.deepcopy(module).eval())))
    except Exception as error:  # an arbitrary forward may raise anything when it is traced
        raise IsNotLocal(f"torch.fx cannot trace it ({type(error).__name__}: {error})") from error
    nodes = [node for node in graph.graph.nodes if node.op != "get_attr"]
    if [node.op for node in nodes].count("placeholder") != 1:
        raise IsNotLocal("it has not exactly one input")
    reader = _Reader(graph, nodes[0].name)
    stopped = "nothing"
    for node in nodes[1:-1]:
        try:
            reader.read(node)
        except IsNotLocal as reason:
            stopped = str(reason)
            break
    cuts = [name for name in _articulations(nodes) if name in reader.steps]
    return Program(graph, nodes[0].name, tuple(reader.steps.values()), tuple(cuts), stopped)


def behind(program: Program, cut: str) -> fx.GraphModule:
    """The rest of the network, from the map ``cut`` to the output."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}

    def copied(source: fx.Node) -> fx.Node:
        if source.op == "get_attr" and source not in copies:
            copies[source] = graph.node_copy(source)
        return copies[source]

    reached = False
    for node in program.graph.graph.nodes:
        if node.name == cut:
            copies[node], reached = graph.placeholder("features"), True
        elif reached and node.op != "get_attr":
            copies[node] = graph.node_copy(node, copied)
    return fx.GraphModule(program.graph, graph)


def _articulations(nodes: Sequence[fx.Node]) -> list[str]:
    """Nodes that no edge bypasses (articulation points)."""
    order = {node: position for position, node in enumerate(nodes)}
    farthest, found = 0, []
    for position, node in enumerate(nodes):
        if position and farthest <= position:
            found.append(node.name)
        farthest = max([farthest, *(order[user] for user in node.users if user in order)])
    return found


class _Reader:
    def __init__(self, graph: fx.GraphModule, source: str) -> None:
        self.steps: dict[str, Step] = {}
        self._modules = dict(graph.named_modules())
        self._graph = graph
        self._same = {source: source}  # every local map to the name of an equal map
        self._pads: dict[str, tuple[str, tuple[int, int, int, int], float]] = {}

    def read(self, node: fx.Node) -> None:
        """Append the step of this node."""
        module = self._modules.get(str(node.target)) if node.op == "call_module" else None
        self._refuse_shared_in_place(node, module)
        if isinstance(module, nn.Identity | nn.Dropout | nn.Dropout2d):
            self._same[node.name] = self._map(node.args[0], node)
        elif isinstance(module, _PADS) or node.target is F.pad:
            self._pad(node, module)
        elif node.target in _MERGES and self._merge(node):
            return
        elif (layer := read_window(node, module, self._constant)) is not None:
            self._window(node, layer)
        elif (apply := self._pointwise(node, module)) is not None:
            self._add(node, Step(node.name, (self._map(node.args[0], node),), None, apply))
        else:
            raise IsNotLocal(_describe(node, module))

    def _add(self, node: fx.Node, step: Step) -> None:
        self.steps[node.name] = step
        self._same[node.name] = node.name

    def _map(self, argument: Any, node: fx.Node) -> str:
        if not isinstance(argument, fx.Node) or argument.name not in self._same:
            raise IsNotLocal(_describe(node, self._modules.get(str(node.target))))
        return self._same[argument.name]

    def _constant(self, argument: Any) -> Any:
        """A parameter or a plain value; raises IsNotLocal if it is computed."""
        if not isinstance(argument, fx.Node):
            return argument
        if argument.op != "get_attr":
            raise IsNotLocal(f"{argument.name}, which is computed where a constant is needed")
        value: Any = self._graph
        for part in str(argument.target).split("."):
            value = getattr(value, part)
        return value

    def _pad(self, node: fx.Node, module: nn.Module | None) -> None:
        padding: Any
        value: Any
        if module is not None:
            padding, value = module.padding, getattr(module, "value", 0.0)
        else:
            padding = node.args[1] if len(node.args) > 1 else node.kwargs["pad"]
            mode = node.args[2] if len(node.args) > 2 else node.kwargs.get("mode", "constant")
            value = node.args[3] if len(node.args) > 3 else node.kwargs.get("value") or 0.0
            if mode != "constant":
                raise IsNotLocal(_describe(node, module))
        if len(padding) != 4 or min(padding) < 0:
            raise IsNotLocal(_describe(node, module))
        left, right, top, bottom = padding
        source = self._map(node.args[0], node)
        window = Window.square(1).padded(top, bottom, left, right, value)
        self._add(node, Step(node.name, (source,), window, lambda maps: maps))
        self._pads[node.name] = source, (top, bottom, left, right), value

    def _window(self, node: fx.Node, layer: Layer) -> None:
        window = layer.window
        source = self._map(node.args[0], node)
        if source in self._pads and len(node.args[0].users) == 1:  # type: ignore[union-attr]
            behind, padding, value = self._pads[source]
            if value == window.fill or window.unpadded:
                del self.steps[source]
                source, window = behind, window.padded(*padding, value)
        step = Step(node.name, (source,), window, layer.apply, layer.multiply_adds)
        self._add(node, step if not window.pointwise else replace(step, window=None))

    def _merge(self, node: fx.Node) -> bool:
        arguments = node.args
        if node.target is torch.cat:
            arguments, dim = tuple(node.args[0]), (*node.args[1:], *node.kwargs.values())  # type: ignore[arg-type]
            if dim not in ((1,), (-3,)):
                raise IsNotLocal(_describe(node, None))
        elif node.kwargs or len(arguments) != 2:
            raise IsNotLocal(_describe(node, None))
        if not all(isinstance(argument, fx.Node) for argument in arguments):
            return False
        inputs = tuple(self._map(argument, node) for argument in arguments)
        self._add(node, Step(node.name, inputs, None, _MERGES[node.target]))
        return True

    def _pointwise(self, node: fx.Node, module: nn.Module | None) -> Callable[[Tensor], Tensor] | None:
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            return module
        if type(module) in POINTWISE:
            return module
        rest = (*node.args[1:], *node.kwargs.values())
        known = node.op == "call_function" and (node.target in POINTWISE or node.target in _MERGES)
        if known and isinstance(node.args[0], fx.Node) and not any(isinstance(a, fx.Node) for a in rest):
            function, constants, named = cast(Callable[..., Tensor], node.target), node.args[1:], node.kwargs
            return lambda maps: function(maps, *constants, **named)
        return None

    def _refuse_shared_in_place(self, node: fx.Node, module: nn.Module | None) -> None:
        """In-place layers change their input for all its readers, so they are safe only as its sole reader."""
        in_place = getattr(module, "inplace", False) or node.kwargs.get("inplace", False)
        if not (in_place or node.target in (operator.iadd, operator.imul)):
            return
        source = self._same.get(getattr(node.args[0], "name", ""), None)
        readers = [
            user
            for other in self._graph.graph.nodes
            if self._same.get(other.name) == source
            for user in other.users
            if self._same.get(user.name) != source
        ]
        if len(readers) > 1:
            raise IsNotLocal(f"{_describe(node, module)} that works in place on a map with other readers")


def _describe(node: fx.Node, module: nn.Module | None) -> str:
    kind = type(module).__name__ if module is not None else getattr(node.target, "__name__", node.target)
    return f"{node.name} ({kind})"

"""Sizes that a traced network asks for, and kinds of numbers: all but the size of the batch are constants, since images are of one size.

Most networks contain a line like ``x.view(x.size(0), -1)``. Traced, it is a chain of nodes that are no maps. Here each is
replaced by what it is, a number or the size of the batch, and only arithmetic with the size of the batch stays.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch.fx.node import map_arg

from mmer_core.incremental.tracer import called

_NEW: dict[str, Any] = {"new_zeros": torch.zeros, "new_ones": torch.ones, "new_full": torch.full}
BATCHES = (2, 5)
"""A network is run on batches of these two sizes: a number that differs between them depends on the size of the batch."""


class Recorder(fx.Interpreter):
    """Runs a traced network once and records, for each node, the shape of its tensor, or its value if that is no tensor."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """As `torch.fx.Interpreter.run_node`."""
        result = super().run_node(n)
        self.values[n] = result.shape if isinstance(result, Tensor) else result
        if isinstance(result, Tensor):
            self.maps.add(n)
            self.kinds[n] = result.device, result.dtype
        return result

    def record(self, example: Tensor) -> "Recorder":
        """Run it on an input."""
        self.maps: set[fx.Node] = set()
        self.kinds: dict[fx.Node, tuple[torch.device, torch.dtype]] = {}
        with torch.no_grad():
            self.run(example)
        return self


def settle_sizes(graph: fx.GraphModule, example: Tensor) -> dict[str, torch.Size]:
    """Replace sizes by constants, for inputs of the size of ``example`` ``(1, C, H, W)``; the batch stays any.

    Returns:
        The shapes of all tensors by the names of their nodes, of a batch of 2.
    """
    first, second = (Recorder(graph).record(example.repeat(batch, 1, 1, 1)) for batch in BATCHES)
    nodes = list(graph.graph.nodes)
    source = next(node for node in nodes if node.op == "placeholder")
    with graph.graph.inserting_after(source):
        batch = graph.graph.call_method("size", (source, 0))
    for node in nodes:
        if called(node) == "view":  # which not every layout in memory allows; runtimes choose theirs
            node.target = "reshape"
        if node.target is getattr and node.args[1:] == ("mT",):  # which not every runtime knows
            node.op, node.target, node.args = "call_method", "transpose", (node.args[0], -2, -1)
        _be_of_no_map(node, first.kinds)
        if node in first.maps or node.op in ("output", "get_attr") or node not in first.values:
            continue
        found = _settled(first.values[node], second.values[node], batch)
        if found is not None:
            for user in list(node.users):
                user.args = _replaced(user.args, node, found[0])
                user.kwargs = _replaced(user.kwargs, node, found[0])
            graph.graph.erase_node(node)
    if not batch.users:
        graph.graph.erase_node(batch)
    graph.recompile()
    return {node.name: first.values[node] for node in first.maps}


def _be_of_no_map(node: fx.Node, kinds: Mapping[fx.Node, tuple[torch.device, torch.dtype]]) -> None:
    """Let a node that takes from a map its kind alone, and not its numbers, be one that does not read the map."""
    if node.op != "call_method":
        return
    if node.target == "type_as" and len(node.args) == 2:
        device, dtype = kinds[cast(fx.Node, node.args[1])]
        node.target, node.args = "to", (node.args[0], device, dtype)
    elif node.target in _NEW:
        device, dtype = kinds[cast(fx.Node, node.args[0])]
        node.op, node.target, node.args = "call_function", _NEW[str(node.target)], node.args[1:]
        node.kwargs = {"dtype": dtype, "device": device, **node.kwargs}


def one_by_one(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sizes or dimensions, which may be given as one list: ``view(2, 3)`` is ``view((2, 3))``."""
    return tuple(given[0]) if given and isinstance(given[0], list | tuple) else given


def _replaced(arguments: Any, node: fx.Node, value: Any) -> Any:
    return map_arg(arguments, lambda one: value if one is node else one)


def _settled(one: Any, other: Any, batch: fx.Node) -> tuple[Any] | None:
    """What has a value for two batches, as an argument of a node; None where it must be computed."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        parts = [_settled(*pair, batch) for pair in zip(one, other, strict=True)]
        known = [part[0] for part in parts if part is not None]
        return (tuple(known),) if len(known) == len(parts) else None
    if isinstance(one, Tensor) or type(one) is not type(other):
        return None
    if one == other:
        return (one,)
    return (batch,) if (one, other) == BATCHES else None

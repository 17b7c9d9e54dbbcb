"""Rewrites of a traced network that compute the same: constants, channels, and what nothing reads."""

import operator
from typing import Any

import torch
from torch import Tensor, fx

from mmer_core.incremental.tracer import called, writes

_LARGER = 8
"""A constant is computed ahead only if it is at most so many times as large as the parameters that it is computed from."""


def remove_unused(graph: fx.GraphModule) -> None:
    """Remove nodes that nothing reads, but for those that write into what others read."""
    graph.graph.eliminate_dead_code(lambda node: node.is_impure() or writes(node, graph))
    graph.recompile()


def slice_channels(graph: fx.GraphModule, shapes: dict[str, torch.Size]) -> None:
    """Read one channel as a map of one channel: ``x[:, 0]`` that is only unsqueezed is ``x[:, 0:1]``.

    Args:
        shapes: Of tensors by the names of their nodes; those of new nodes are added.
    """
    everything = slice(None, None, None)
    for node in list(graph.graph.nodes):
        index: Any = node.args[1] if node.target is operator.getitem else None
        source: Any = node.args[0] if node.args else None
        if not isinstance(index, tuple) or len(shapes.get(getattr(source, "name", ""), ())) != 4:
            continue
        channel = index[1] if len(index) > 1 else None
        if type(channel) is not int or any(each != everything for each in (index[0], *index[2:])):
            continue
        if not node.users or not all(map(_unsqueezes, node.users)):
            continue
        with graph.graph.inserting_before(node):
            kept = graph.graph.call_function(
                operator.getitem, (source, (everything, slice(channel, channel + 1 or None, None)))
            )
        shapes[kept.name] = torch.Size([*shapes[source.name][:1], 1, *shapes[source.name][2:]])
        for user in list(node.users):
            user.replace_all_uses_with(kept)
            graph.graph.erase_node(user)
        graph.graph.erase_node(node)
    graph.recompile()


def _unsqueezes(node: fx.Node) -> bool:
    """Whether it inserts a dimension for the channels."""
    if called(node) in (torch.unsqueeze, "unsqueeze"):
        return (*node.args[1:], *node.kwargs.values()) in ((1,), (-3,))
    index = node.args[1] if node.target is operator.getitem else None
    return index in ((slice(None, None, None), None), (slice(None, None, None), None, Ellipsis))


def settle_constants(graph: fx.GraphModule) -> None:
    """Compute what is made of parameters alone, such as ``self.gamma.view(1, -1, 1, 1)`` or a standardised weight."""
    known: set[fx.Node] = set()
    settled: list[fx.Node] = []
    run = fx.Interpreter(graph)
    for node in list(graph.graph.nodes):
        inputs = node.all_input_nodes
        if node.op == "get_attr":
            known.add(node)
        elif node.op.startswith("call") and inputs and known.issuperset(inputs) and not writes(node, graph):
            found, size = _computed(run, node)
            if isinstance(found, Tensor) and found.numel() <= _LARGER * size:
                name = f"_settled_{node.name}"
                graph.register_buffer(name, found, persistent=False)
                with graph.graph.inserting_before(node):
                    constant = graph.graph.get_attr(name)
                node.replace_all_uses_with(constant)
                graph.graph.erase_node(node)
                known.add(constant)
                settled.append(constant)
    for constant in reversed(settled):  # of which others were made
        if not constant.users:
            graph.graph.erase_node(constant)
            delattr(graph, str(constant.target))
    graph.recompile()


def _computed(run: fx.Interpreter, node: fx.Node) -> tuple[Any, int]:
    """The value of a node that reads nothing but parameters, and how many numbers these have."""
    with torch.no_grad():
        for each in node.all_input_nodes:
            run.env[each] = run.run_node(each)
        given = [run.env[each] for each in node.all_input_nodes]
        size = sum(each.numel() for each in given if isinstance(each, Tensor))
        return run.run_node(node), size

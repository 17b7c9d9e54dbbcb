"""A torch module as a list of local steps: each output depends only on a neighbourhood of the input.

The module is traced symbolically (``torch.fx``), batch norms are folded into the convolutions before them, sizes and constants
are settled, and the nodes are read in order until one is not local: a mean over the map, as in squeeze-and-excitation,
statistics of the map, as in group normalisation, attention. The nodes after that one are not analysed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

from mmer_core.incremental.constants import Constants
from mmer_core.incremental.first_token import compute_only_the_first
from mmer_core.incremental.layers import IsNotLocal
from mmer_core.incremental.reading import Reader, Step, describe, is_altered
from mmer_core.incremental.rewriting import remove_unused, settle_constants, slice_channels
from mmer_core.incremental.sizes import settle_sizes
from mmer_core.incremental.tracer import traced


@dataclass(frozen=True, eq=False)
class Program:
    """The local beginning of a network.

    Attributes:
        graph: The traced network, in evaluation mode, with batch norms folded.
        source: Name of the input.
        steps: In the order of execution.
        cuts: Names of the steps that all data pass through: the network may be split after each.
        fixed: Maps ``(1, C, H, W)`` that steps read and that are the same for all images, by name.
        stopped: The node that ended the list, for messages: "linear (Linear)".
        layers: Convolutions and linear layers before the last cut, and in all.
    """

    graph: fx.GraphModule
    source: str
    steps: tuple[Step, ...]
    cuts: tuple[str, ...]
    stopped: str
    layers: tuple[int, int] = (0, 0)
    fixed: Mapping[str, Tensor] = field(default_factory=dict)


def lower(module: nn.Module, example: Tensor) -> Program:
    """Trace ``module``, from one ``(B, C, H, W)`` map to one tensor, and read its local steps.

    Args:
        module: The network; it is copied.
        example: An input ``(1, C, H, W)`` of the size that is evaluated.

    Raises:
        IsNotLocal: It cannot be traced; the message says why.
    """
    try:
        graph = traced(module, example)
        if _may_fuse(graph):
            # It is a GraphModule despite the function's signature. To be traced again it would need `traced`.
            graph = cast(fx.GraphModule, fuse(graph, no_trace=True))
    except Exception as error:  # an arbitrary forward may raise anything when it is traced
        raise IsNotLocal(f"torch.fx cannot trace it ({type(error).__name__}: {error})") from error
    if [node.op for node in graph.graph.nodes].count("placeholder") != 1:
        raise IsNotLocal("it has not exactly one input")
    try:
        shapes = settle_sizes(graph, example)
        settle_constants(graph)
        slice_channels(graph, shapes)
        remove_unused(graph)
        compute_only_the_first(graph, shapes)
    except Exception as error:  # as above
        raise IsNotLocal(f"it cannot be run ({type(error).__name__}: {error})") from error
    constants = Constants(graph)
    nodes = [node for node in graph.graph.nodes if node not in constants]
    reader = Reader(graph, nodes[0].name, shapes, example, constants)
    stopped = "nothing"
    for node in nodes[1:-1]:
        try:
            reader.read(node)
        except IsNotLocal as reason:
            stopped = str(reason)
            break
        except Exception as error:  # a function that is called in an unusual way
            stopped = f"{describe(node, None)}, which is not understood ({type(error).__name__})"
            break
    cuts = [name for name in _articulations(nodes) if name in reader.steps and reader.ends_well(name)]
    computing = [node for node in nodes if _computes(node, graph)]
    last = [node.name for node in nodes].index(cuts[-1]) if cuts else -1
    windowed = sum(node in nodes[: last + 1] for node in computing)
    steps = tuple(reader.steps.values())
    return Program(
        graph, nodes[0].name, steps, tuple(cuts), stopped, (windowed, len(computing)), reader.fixed
    )


def _may_fuse(graph: fx.GraphModule) -> bool:
    """Whether batch norms can be folded: fuse() drops what alters a layer, and changes a convolution for all its uses."""
    called = [node.target for node in graph.graph.nodes if node.op == "call_module"]
    return len(called) == len(set(called)) and not any(map(is_altered, graph.modules()))


def _computes(node: fx.Node, graph: fx.GraphModule) -> bool:
    if node.op == "call_module":
        return isinstance(graph.get_submodule(str(node.target)), nn.Conv2d | nn.Linear)
    return node.target in (F.conv2d, torch.conv2d, F.linear)


def behind(program: Program, cut: str) -> fx.GraphModule:
    """The rest of the network, from the map ``cut`` to the output."""
    graph = fx.Graph()
    features = graph.placeholder("features")
    copies: dict[fx.Node, fx.Node] = {}

    def copied(source: fx.Node) -> fx.Node:
        """A constant or a size, which may come from before the cut: the size of the batch is the same of every map."""
        if source not in copies:
            if source.op == "placeholder":
                return features
            copies[source] = graph.node_copy(source, copied)
        return copies[source]

    reached = False
    for node in program.graph.graph.nodes:
        if node.name == cut:
            copies[node], reached = features, True
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

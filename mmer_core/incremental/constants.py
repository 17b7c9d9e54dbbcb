"""What in a traced network is the same for all images: parameters, and whatever is made of these and of sizes."""

import operator
from typing import Any, cast

import torch
from torch import Tensor, fx

from mmer_core.incremental.layers import IsNotLocal
from mmer_core.incremental.sizes import BATCHES
from mmer_core.incremental.tracer import writes


class Constants:
    """The constants of a graph.

    Args:
        graph: A traced network whose sizes are settled: it asks for no other than that of the batch.
    """

    def __init__(self, graph: fx.GraphModule) -> None:
        self._graph = graph
        self._values: dict[tuple[fx.Node, int], Any] = {}
        self._known: set[fx.Node] = set()
        for node in graph.graph.nodes:
            computes = node.op.startswith("call") and self._known.issuperset(node.all_input_nodes)
            asks = (node.op, node.target) == ("call_method", "size")
            if node.op == "get_attr" or asks or (computes and self._harmless(node)):
                self._known.add(node)

    def __contains__(self, node: fx.Node) -> bool:
        return node in self._known

    def _harmless(self, node: fx.Node) -> bool:
        """Whether it writes into nothing, or into what was made for it alone."""
        if not writes(node, self._graph):
            return True
        written = node.args[0]
        return isinstance(written, fx.Node) and written.op != "get_attr" and len(written.users) == 1

    def value(self, node: fx.Node) -> Tensor:
        """A tensor that serves batches of any size; of one with a row for each image, which are all the same, ``(1, ...)``.

        Raises:
            IsNotLocal: It is none.
        """
        if node not in self._known:
            raise IsNotLocal(f"{node.name}, which is computed where a constant is needed")
        if node.op == "get_attr":
            return cast(Tensor, self._value(node, BATCHES[0]))
        one, other = (self._value(node, batch) for batch in BATCHES)
        if isinstance(one, Tensor) and isinstance(other, Tensor):
            if _equal(one, other):
                return one
            if one.ndim and all(_equal(one[:1].expand_as(rows), rows) for rows in (one, other)):
                return one[:1]
        raise IsNotLocal(f"{node.name}, which depends on the size of the batch")

    def _value(self, node: fx.Node, batch: int) -> Any:
        """Of a node, for a batch of this size."""
        if (node.op, node.target) == ("call_method", "size"):
            return batch
        if (node, batch) not in self._values:
            self._values[node, batch] = self._computed(node, batch)
        return self._values[node, batch]

    @torch.no_grad()
    def _computed(self, node: fx.Node, batch: int) -> Any:
        run = fx.Interpreter(self._graph)
        if node.op == "get_attr":
            return operator.attrgetter(str(node.target))(self._graph)
        given = {each: self._value(each, batch) for each in node.all_input_nodes}
        if writes(node, self._graph):
            given = {each: one.clone() if isinstance(one, Tensor) else one for each, one in given.items()}
        run.env = given
        return run.run_node(node)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)

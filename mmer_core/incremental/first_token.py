"""Transformers of which only the first token is read: the last block computes no other.

A classifier reads ``x[:, 0]``, the class token, behind its last block. There each token depends on all tokens in
attention alone, as a query on keys and values. So whatever is behind the last attention, and the queries in it, are
computed for that token: in a ViT of six blocks a seventh of all work is saved.

Attention may be `torch.nn.MultiheadAttention`, or written by hand: tokens are followed along their axis through views and products.
"""

import math
import operator
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from mmer_core.incremental.sizes import one_by_one
from mmer_core.incremental.tracer import called

Sources = dict[int, int]
"""The arguments of a node that are read for the first token alone, by their position, and the axis of their tokens."""

_ALONG_LAST = (nn.LayerNorm, nn.Linear)
_ELEMENTWISE = (nn.Dropout, nn.Identity, nn.GELU, nn.ReLU, nn.SiLU, nn.Tanh, nn.Sigmoid)
_FUNCTIONS = frozenset(
    {
        *(F.gelu, F.relu, F.silu, torch.sigmoid, torch.tanh, torch.relu, F.dropout),
        *("contiguous", "clone", "float", "to", "type_as", "sigmoid", "tanh", "relu"),
    }
)
_BINARY = frozenset(
    {
        *(operator.add, operator.iadd, operator.sub, operator.mul, operator.imul, operator.truediv),
        *(torch.add, torch.sub, torch.mul, torch.div, "add", "sub", "mul", "div"),
    }
)
_SOFTMAX = (F.softmax, torch.softmax, "softmax")
_PRODUCTS = (operator.matmul, torch.matmul, torch.bmm, "matmul", "bmm")
_VIEWS = ("view", "reshape", torch.reshape)
_FLATTENING = ("flatten", "unflatten", torch.flatten, torch.unflatten)


def compute_only_the_first(graph: fx.GraphModule, shapes: Mapping[str, torch.Size]) -> None:
    """Rewrite a traced network in place, where it reads the first token only.

    Args:
        graph: The network, in evaluation mode, without nodes that nothing reads, such as the weights of an attention.
        shapes: Those of its tensors by the names of nodes, ``(B, T, D)`` of tokens.
    """
    tokens = _Tokens(graph, shapes)
    narrow: dict[fx.Node, int] = {}  # nodes of which nothing is read but the first along an axis
    for node in reversed(graph.graph.nodes):
        axes = {tokens.read_along(user, node, narrow) for user in node.users}
        axis = axes.pop() if len(axes) == 1 else None
        if axis is not None and tokens.sources(node, axis) is not None:
            narrow[node] = axis
    cuts: dict[tuple[fx.Node, int], fx.Node] = {}
    for node in [node for node in graph.graph.nodes if node in narrow]:
        for number, axis in (tokens.sources(node, narrow[node]) or {}).items():
            source: Any = node.args[number]
            if source in narrow:
                continue
            if (source, axis) not in cuts:
                first = (*[slice(None, None, None)] * axis, slice(0, 1, None))
                with graph.graph.inserting_before(node):
                    cuts[source, axis] = graph.graph.call_function(operator.getitem, (source, first))
            node.update_arg(number, cuts[source, axis])
        if called(node) in _VIEWS:
            node.args = _view_of_one(node, narrow[node])
    graph.recompile()


class _Tokens:
    """Along which axis of what it reads a node has the tokens that it has along an axis."""

    def __init__(self, graph: fx.GraphModule, shapes: Mapping[str, torch.Size]) -> None:
        self._graph, self._shapes = graph, shapes
        self._modules = dict(graph.named_modules())

    def read_along(self, user: fx.Node, source: fx.Node, narrow: Mapping[fx.Node, int]) -> int | None:
        """The axis along which a user of a node reads the first alone; None where it reads others too."""
        if _reads_first(user):
            return 1 if len(self._shape(source)) == 3 else None  # (B, T, D), and no map
        sources = self.sources(user, narrow[user]) if user in narrow else None
        if not sources:
            return None
        axes = {sources.get(number) for number, each in enumerate(user.args) if each is source}
        return axes.pop() if len(axes) == 1 else None

    def sources(self, node: fx.Node, axis: int) -> Sources | None:
        """What the first along an axis of a node's output is computed of; None where that is not known."""
        if self._from_attention(node):
            return {0: axis}
        if self._attention(node):
            return {0: 1} if axis == 1 else None
        shape = self._shape(node)
        if axis >= len(shape) or not node.op.startswith("call"):
            return None
        module = self._modules.get(str(node.target)) if node.op == "call_module" else None
        last = axis == len(shape) - 1
        if module is not None:
            wide = isinstance(module, nn.LayerNorm) and len(module.normalized_shape) != 1
            alone = len(node.args) == 1 and not node.kwargs
            known = isinstance(module, _ELEMENTWISE) or (
                isinstance(module, _ALONG_LAST) and not (last or wide)
            )
            return {0: axis} if alone and known else None
        if called(node) in _BINARY:
            return self._of_both(node, axis)
        if not node.args or not isinstance(node.args[0], fx.Node):
            return None
        if called(node) in _FUNCTIONS or (called(node) is F.linear and not last):
            return {0: axis} if len(node.all_input_nodes) == 1 or called(node) is F.linear else None
        if called(node) is F.layer_norm:
            return {0: axis} if not last and len(node.args) > 1 and len(node.args[1]) == 1 else None  # type: ignore[arg-type]
        if called(node) in _SOFTMAX:
            dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
            return {0: axis} if isinstance(dim, int) and dim % len(shape) != axis else None
        if called(node) in _PRODUCTS or called(node) is F.scaled_dot_product_attention:
            return self._of_products(node, axis)
        return self._of_views(node, axis)

    def _of_both(self, node: fx.Node, axis: int) -> Sources | None:
        shape, found = self._shape(node), {}
        for number, each in enumerate(node.args):
            if not isinstance(each, fx.Node):
                continue
            own = self._shape(each)
            if own == shape:
                found[number] = axis
            else:  # the same for all tokens
                at = axis - (len(shape) - len(own))
                if each.op != "get_attr" or (at >= 0 and own[at] != 1):
                    return None
        return found if found and not node.kwargs else None

    def _of_products(self, node: fx.Node, axis: int) -> Sources | None:
        """Of rows with columns: a row of the result is of a row of the first."""
        shape = self._shape(node)
        fits = axis == len(shape) - 2 and len(self._shape(node.args[0])) == len(shape)
        if called(node) is F.scaled_dot_product_attention:
            given = (
                dict(zip(("attn_mask", "dropout_p", "is_causal"), node.args[3:], strict=False)) | node.kwargs
            )
            fits = (
                fits and len(node.args) >= 3 and given.get("attn_mask") is None and not given.get("is_causal")
            )
        return {0: axis} if fits else None

    def _of_views(self, node: fx.Node, axis: int) -> Sources | None:
        shape, before = self._shape(node), self._shape(node.args[0])
        given: Any = (*node.args[1:], *node.kwargs.values())
        if called(node) in ("permute", torch.permute):
            return {0: one_by_one(given)[axis] % len(shape)}
        if called(node) in ("transpose", torch.transpose):
            one, other = (dim % len(shape) for dim in given)
            return {0: {one: other, other: one}.get(axis, axis)}
        if called(node) in _VIEWS or called(node) in _FLATTENING:
            for place, size in enumerate(before):
                if size == shape[axis] and math.prod(before[:place]) == math.prod(shape[:axis]):
                    return {0: place} if self._keeps(node, place) else None
        return None

    def _keeps(self, node: fx.Node, place: int) -> bool:
        """Whether a view can be taken of the first alone along an axis of what is viewed."""
        if called(node) in _VIEWS:
            return not node.kwargs and len(one_by_one(node.args[1:])) == len(self._shape(node))
        unflattened = called(node) in ("unflatten", torch.unflatten)
        return not (unflattened and node.args[1] % len(self._shape(node.args[0])) == place)  # type: ignore[operator]

    def _shape(self, node: Any) -> tuple[int, ...]:
        if isinstance(node, fx.Node) and node.op == "get_attr":
            return tuple(operator.attrgetter(str(node.target))(self._graph).shape)
        return tuple(self._shapes.get(getattr(node, "name", ""), ()))

    def _from_attention(self, node: fx.Node) -> bool:
        """Whether a node is the output of an attention."""
        source = node.args[0] if node.args else None
        if called(node) is not operator.getitem or node.args[1] != 0:
            return False
        return isinstance(source, fx.Node) and self._attention(source)

    def _attention(self, node: fx.Node) -> bool:
        """Whether a node is an attention of which only the output is read; queries, keys and values are its arguments."""
        if node.op != "call_module" or len(node.args) != 3:
            return False
        module = self._modules[str(node.target)]
        plain = isinstance(module, nn.MultiheadAttention) and module.batch_first
        return plain and not set(node.kwargs) - {"need_weights"} and len(node.users) == 1


def _reads_first(node: fx.Node) -> bool:
    """As ``x[:, 0]`` or ``x[:, 0, :]``."""
    if called(node) is not operator.getitem or not isinstance(node.args[1], tuple):
        return False
    every = slice(None, None, None)
    return node.args[1][:2] == (every, 0) and all(each == every for each in node.args[1][2:])


def _view_of_one(view: fx.Node, axis: int) -> tuple[Any, ...]:
    """The arguments of a view in which an axis has one place."""
    sizes = [*one_by_one(view.args[1:])]
    if sizes[axis] != -1:
        sizes[axis] = 1
    return view.args[0], tuple(sizes)

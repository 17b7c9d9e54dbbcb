"""Transformers of which only the first token is read: the last block computes no other.

A classifier reads ``x[:, 0]``, the class token, behind its last block. There each token depends on all tokens in
attention alone, as a query on keys and values. So whatever is behind the last attention, and the queries in it, are
computed for that token: in a ViT of six blocks a seventh of all work is saved.
"""

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

_BY_TOKEN = (nn.LayerNorm, nn.Linear, nn.Dropout, nn.Identity, nn.GELU, nn.ReLU, nn.SiLU, nn.Tanh, nn.Sigmoid)
_SUMS = (operator.add, operator.iadd, torch.add)


def compute_only_the_first(graph: fx.GraphModule, shapes: Mapping[str, torch.Size]) -> None:
    """Rewrite a traced network in place, where it reads the first token only.

    Args:
        graph: The network, in evaluation mode, without nodes that nothing reads, such as the weights of an attention.
        shapes: Those of its tensors by the names of nodes, ``(B, T, D)`` of tokens.
    """
    modules = dict(graph.named_modules())
    narrow: set[fx.Node] = set()  # of which nothing is read but the first token
    for node in reversed(graph.graph.nodes):
        # An attention reads all tokens, as keys and values.
        spared = (
            (user in narrow and not _attention(user, modules)) or _reads_first(user) for user in node.users
        )
        if node.users and all(spared) and _narrows(node, modules, shapes):
            narrow.add(node)
    cuts: dict[fx.Node, fx.Node] = {}
    for node in [node for node in graph.graph.nodes if node in narrow]:
        # Of an attention, queries alone: all tokens are its keys and values.
        count = 1 if _attention(node, modules) else len(node.args)
        if _from_attention(node, modules):
            continue
        with graph.graph.inserting_before(node):
            for number in range(count):
                source: Any = node.args[number]
                if source not in narrow:
                    cuts[source] = cuts.get(source) or graph.graph.call_function(
                        operator.getitem, (source, (slice(None, None, None), slice(0, 1, None)))
                    )
                    node.update_arg(number, cuts[source])
    graph.recompile()


def _reads_first(node: fx.Node) -> bool:
    return node.target is operator.getitem and node.args[1] == (slice(None, None, None), 0)


def _narrows(node: fx.Node, modules: Mapping[str, nn.Module], shapes: Mapping[str, torch.Size]) -> bool:
    """Whether the first token of what a node computes needs the first token alone, of all or of some of its inputs."""
    if _attention(node, modules) or _from_attention(node, modules):
        return True
    tokens = shapes.get(node.name, ())
    if len(tokens) != 3 or node.kwargs:
        return False
    if node.target in _SUMS:
        return len(node.args) == 2 and all(
            isinstance(each, fx.Node) and shapes.get(each.name) == tokens for each in node.args
        )
    module = modules.get(str(node.target)) if node.op == "call_module" else None
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) != 1:
        return False
    return isinstance(module, _BY_TOKEN) and len(node.args) == 1


def _from_attention(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a node is the output of an attention."""
    source = node.args[0] if node.args else None
    if node.target is not operator.getitem or node.args[1] != 0:
        return False
    return isinstance(source, fx.Node) and _attention(source, modules)


def _attention(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a node is an attention of which only the output is read."""
    if node.op != "call_module" or len(node.args) != 3:
        return False
    module = modules[str(node.target)]
    plain = isinstance(module, nn.MultiheadAttention) and module.batch_first
    return plain and not set(node.kwargs) - {"need_weights"} and len(node.users) == 1

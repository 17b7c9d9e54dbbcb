"""What `torch.export` made, in the functions that people write: it is a graph of ATen operations."""

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch._ops import OpOverload

_FUNCTIONS = {
    *("conv1d", "conv2d", "conv_transpose2d", "linear", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "pad"),
    *("pixel_shuffle", "pixel_unshuffle", "relu", "relu6", "silu", "hardswish", "hardsigmoid", "hardtanh", "gelu"),
    *("elu", "leaky_relu", "softplus", "mish", "dropout", "scaled_dot_product_attention"),
}  # fmt: skip
"""Those of `torch.nn.functional` with the arguments of their operations."""
_OF_TORCH = {"add", "sub", "mul", "cat", "stack", "sigmoid", "tanh", "clamp", "matmul", "einsum", "where"}
_UPSAMPLING = {
    "upsample_nearest2d": "nearest",
    "_upsample_nearest_exact2d": "nearest-exact",
    "upsample_bilinear2d": "bilinear",
    "upsample_bicubic2d": "bicubic",
}
"""Operations that `torch.nn.functional.interpolate` calls, and the modes in which it does."""
_SLICE: dict[str, Any] = {"dim": 0, "start": None, "end": None, "step": 1}
"""What is not given of a slice."""
_OF_OPTIONAL = ("index", "index_put", "index_put_")
"""Those that take indices of which some are None, which the methods of these names do not."""
_LAST = 2**63 - 1
"""What a slice to the end is exported as."""


def as_written(graph: fx.Graph) -> None:
    """Let nodes that call ATen operations call the functions and methods that these belong to, as far as there are any."""
    for node in graph.nodes:
        if isinstance(node.target, OpOverload) and node.target.namespace == "aten":
            _be_written(node, node.target)


def _be_written(node: fx.Node, operation: OpOverload) -> None:
    name, args = operation.overloadpacket.__name__, node.args
    plain = name.removesuffix("_")
    if plain in _FUNCTIONS:
        node.target = getattr(F, plain)
        if name != plain:
            node.kwargs = {**node.kwargs, "inplace": True}
    elif name in _OF_TORCH:
        node.target = getattr(torch, name)
    elif name == "layer_norm":
        node.target, node.args = F.layer_norm, args[:5]
    elif name == "batch_norm":
        maps, weight, bias, mean, variance, *others = args
        node.target, node.args = F.batch_norm, (maps, mean, variance, weight, bias, *others[:3])
    elif name in _UPSAMPLING and operation._overloadname == "vec":
        maps, size, *corners, factors = args
        node.target, node.args = F.interpolate, (maps, size, factors, _UPSAMPLING[name], *corners)
    elif name == "mT":
        _call_method(node, "transpose")
        node.args = (*args, -2, -1)
    elif name == "slice":
        given: dict[str, Any] = _SLICE | dict(zip(("of", *_SLICE), args, strict=False))
        if isinstance(given["dim"], int) and given["dim"] >= 0:
            part = slice(given["start"], None if given["end"] == _LAST else given["end"], given["step"])
            node.target, node.args = operator.getitem, (given["of"], (*[slice(None)] * given["dim"], part))
    elif name == "sym_size":
        _call_method(node, "size")
    elif (
        callable(getattr(Tensor, name, None))
        and name not in _OF_OPTIONAL
        and [each.name for each in operation._schema.arguments[:1]] == ["self"]
    ):
        _call_method(node, name)


def _call_method(node: fx.Node, name: str) -> None:
    node.op, node.target = "call_method", name


def writes_by_schema(target: Any) -> bool:
    """Whether an operation writes into what it is given."""
    return isinstance(target, OpOverload) and bool(target._schema.is_mutable)

"""The pull as one graph, forward and backward, of operations that an inference runtime knows.

Such runtimes have no autograd. Yet a gradient is made of ordinary operations, so autograd is traced once, and its
steps are kept; what runtimes have no operation for is written as forward operations.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._decomp import decomposition_table
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from mmer_core.poisoning.encoder import ImageEncoder

_aten = torch.ops.aten


def pull_graph(encoder: ImageEncoder, pixels: Tensor, mix: Tensor, shift: Tensor) -> GraphModule:
    """`pulling.pull` of an encoder, of inputs and outputs as there, for batches of the shape of these.

    To be called inside of `tracing.tracing`. Nothing is computed, so only shapes matter.
    """

    def joint(pixels: Tensor, mix: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = pixels.detach().requires_grad_()
            features = encoder.module(encoder.scale(leaf)).float()
            (gradient,) = torch.autograd.grad(features, leaf, mix @ features.detach() - shift)
        return features.detach(), gradient

    trace = make_fx(joint, _RULES, tracing_mode="fake", _allow_non_fake_inputs=True)
    graph = trace(pixels, mix, shift)
    _mask_by_results(graph)
    return graph


def _mask_by_results(graph: GraphModule) -> None:
    """Let gradients of clamps look at what the clamp gives instead of what it takes.

    It says as well whether a value lies strictly inside; and runtimes fuse a clamp with the convolution before
    it only where nothing else looks at what lies between.
    """
    clamps = {node.args[0]: node for node in graph.graph.nodes if node.target is _aten.hardtanh.default}
    for node in graph.graph.nodes:
        if node.target in (_aten.gt.Scalar, _aten.lt.Scalar) and node.args[0] in clamps:
            node.replace_input_with(node.args[0], clamps[node.args[0]])
    graph.recompile()


def _hardtanh_backward(gradient: Tensor, maps: Tensor, low: float, high: float) -> Tensor:
    return gradient * ((maps > low) & (maps < high))


def _convolution_backward(
    gradient: Tensor,
    maps: Tensor,
    weight: Tensor,
    bias_sizes: list[int] | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    wanted: list[bool],
) -> tuple[Tensor, None, None]:
    """With regard to the maps: a transposed convolution, and without strides a convolution, which runs faster."""
    if transposed or wanted[1] or wanted[2] or weight.dim() != 4:
        return NotImplemented  # the operation stays, and the runtime will refuse it
    kernel = weight.shape[2:]
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    rest = [r - p for r, p in zip(reach, padding, strict=True)]
    if set(stride) == {1} and min(rest) >= 0:
        # (groups * out, in, h, w) to (groups * in, out, h, w), turned by 180 degrees.
        parts = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1).flip(2, 3)
        return F.conv2d(gradient, parts, None, 1, rest, dilation, groups), None, None
    left = [
        size - (given - 1) * s + 2 * p - r - 1
        for size, given, s, p, r in zip(
            maps.shape[2:], gradient.shape[2:], stride, padding, reach, strict=True
        )
    ]
    turned = F.conv_transpose2d(gradient, weight, None, stride, padding, left, groups, dilation)
    return turned, None, None


_RULES: dict[Any, Callable[..., Any]] = {
    **{op: rule for op, rule in decomposition_table.items() if "backward" in op.name()},
    _aten.hardtanh_backward.default: _hardtanh_backward,
    _aten.convolution_backward.default: _convolution_backward,
}

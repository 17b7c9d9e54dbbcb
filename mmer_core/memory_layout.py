"""How the weights of a network lie in memory."""

from __future__ import annotations

from mmer_core.heavy import Tensor, nn, torch


def channels_last(module: nn.Module) -> nn.Module:
    """The module with the weights of its convolutions channels-last. ``Module.to`` would refuse a network that holds
    a tensor of five dimensions, as Swin transformers do."""

    def laid_out(tensor: Tensor) -> Tensor:
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor

    return module._apply(laid_out)

"""What torch image classifiers take and return, as far as the meaning is plain; the rest is one sentence."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmer_core.errors import AttackError, out_of_memory

_LUMA = (0.299, 0.587, 0.114)
"""Red, green and blue in a gray value (ITU-R BT.601, as in Pillow's mode L)."""


class PlainClassifier(nn.Module):
    """Any classifier as one of ``(B, 3, H, W)`` floats in 0..1 to ``(B, S)`` float32 logits.

    Args:
        module: May return a tensor, a tuple or list that begins with one, or a dict or model output with
            ``logits``; may compute in any floating type; reads gray images where ``mean`` and ``std`` have one number.
        mean, std: ``(1, C, 1, 1)``.

    Raises:
        AttackError: From its call: the module fails, or returns something else.
    """

    def __init__(self, module: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.module = module
        self._mean, self._std = mean, std
        self._luma = mean.new_tensor(_LUMA).view(1, 3, 1, 1)
        kinds = [t.dtype for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
        self._kind = kinds[0] if kinds else torch.float32

    def is_trivial(self, size: tuple[int, int]) -> bool:
        """Whether the module itself reads float32 in three channels and returns float32 logits.

        Raises:
            AttackError: It cannot read an image of this size, ``(H, W)``.
        """
        if self._kind != torch.float32 or self._mean.shape[1] != 3:
            return False
        output = self._called(torch.zeros(1, 3, *size, device=self._mean.device))
        return isinstance(output, Tensor) and output.ndim == 2 and output.dtype == torch.float32

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in 0..1 to ``(B, S)`` float32."""
        if self._mean.shape[1] == 1:
            images = (images * self._luma).sum(dim=1, keepdim=True)
        return logits_of(self._called(images), len(images))

    def _called(self, images: Tensor) -> Any:
        pixels = ((images - self._mean) / self._std).to(self._kind)
        try:
            return self.module(pixels)
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError) as error:
            if isinstance(error, RuntimeError) and out_of_memory(error):
                raise
            reason = " ".join(str(error).split())[:200]
            raise AttackError(
                f"the victim cannot read a batch of {tuple(pixels.shape)} {pixels.dtype} ({type(error).__name__}: "
                f"{reason}); give the size, mean and std of its input"
            ) from None


def logits_of(output: Any, rows: int) -> Tensor:
    """``(B, S)`` float32 of what a classifier returned for ``B`` images.

    Raises:
        AttackError: It returned no logits, or not a row an image.
    """
    found = _tensor(output)
    if found is None:
        kind = type(output).__name__
        names = f" with {', '.join(map(str, output))}" if isinstance(output, Mapping) else ""
        raise AttackError(
            f"the victim returns {kind}{names}: return logits, a tuple that begins with them, or name them logits"
        )
    shape = tuple(found.shape)
    while found.ndim > 2 and found.shape[-1] == 1:  # (B, S, 1, 1) of a head that is a convolution
        found = found[..., 0]
    if found.ndim == 1 and len(found) == rows:  # a logit an image
        found = found[:, None]
    if found.ndim != 2 or len(found) != rows or not found.shape[1] or found.is_complex():
        raise AttackError(
            f"the victim returns {found.dtype} of shape {shape} for {rows} images; return logits ({rows}, classes)"
        )
    return found.float()


def _tensor(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        named = output.get("logits", next(iter(output.values())) if len(output) == 1 else None)
    else:
        named = getattr(output, "logits", output[0] if isinstance(output, tuple | list) and output else None)
    return named if isinstance(named, Tensor) else None

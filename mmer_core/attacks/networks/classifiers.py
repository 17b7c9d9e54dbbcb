"""What torch image classifiers take and return, as far as the meaning is plain; the rest is one sentence."""

from collections.abc import Callable, Mapping
from operator import attrgetter, itemgetter
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

    def network(self, size: tuple[int, int]) -> nn.Module | None:
        """The classifier as a network of normalised images to logits ``(B, S)`` that can be traced; None if it computes in another type
        than float32.

        Raises:
            AttackError: It cannot read an image of this size, ``(H, W)``, or returns no logits.
        """
        if self._kind != torch.float32:
            return None
        output = self._called(torch.zeros(1, self._mean.shape[1], *size, device=self._mean.device))
        logits_of(output, 1)
        where = _place_of_logits(output)
        assert where is not None
        found = where(output)
        if found.dtype != torch.float32:
            return None
        return self.module if found is output and found.ndim == 2 else _Logits(self.module, where)

    def normalised(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in 0..1 as the module reads them, ``(B, C, H, W)``; each position by itself."""
        if self._mean.shape[1] == 1:
            images = (images * self._luma).sum(dim=1, keepdim=True)
        return (images - self._mean) / self._std

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in 0..1 to ``(B, S)`` float32."""
        return logits_of(self._called(self.normalised(images)), len(images))

    def _called(self, pixels: Tensor) -> Any:
        pixels = pixels.to(self._kind)
        try:
            return self.module(pixels)
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError) as error:
            if isinstance(error, RuntimeError) and out_of_memory(error):
                raise
            reason = " ".join(str(error).split())[:200]
            raise AttackError(
                f"the victim cannot read a batch of {tuple(pixels.shape)} {pixels.dtype} ({type(error).__name__}: "
                f"{reason}); give the size, mean and std of its input, or, of a network that was exported for one size of a batch, "
                "export it with dynamic_shapes for any"
            ) from None


class _Logits(nn.Module):
    """The logits of a classifier as a tensor ``(B, S)``. Where they are in what it returns is known, so that this can be traced.

    Args:
        module: The classifier.
        where: From what it returns to its logits.
    """

    def __init__(self, module: nn.Module, where: Callable[[Any], Any]) -> None:
        super().__init__()
        self.module, self._where = module, where

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels ``(B, C, H, W)`` to logits."""
        found: Tensor = self._where(self.module(pixels))
        return found[:, None] if found.ndim == 1 else found.flatten(1)


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
    where = _place_of_logits(output)
    return None if where is None else where(output)


def _place_of_logits(output: Any) -> Callable[[Any], Any] | None:
    """From what a classifier returns to the tensor of its logits; None if it is nowhere to be seen."""
    if isinstance(output, Tensor):
        return _itself
    where: Callable[[Any], Any] | None = None
    if isinstance(output, Mapping):
        if "logits" in output or len(output) == 1:
            where = itemgetter("logits" if "logits" in output else next(iter(output)))
    elif hasattr(output, "logits"):
        where = attrgetter("logits")
    elif isinstance(output, tuple | list) and output:
        where = itemgetter(0)
    return where if where is not None and isinstance(where(output), Tensor) else None


def _itself(output: Tensor) -> Tensor:
    return output

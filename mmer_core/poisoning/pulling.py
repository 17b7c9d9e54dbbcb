"""Which way to move pixels so that features move where they should: one forward and one backward pass."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

from mmer_core.heavy import Tensor, torch
from mmer_core.poisoning.encoder import ImageEncoder
from mmer_core.runtimes import Refused, compile_graph
from mmer_core.tracing import running, tracing

# In one pass of PyTorch on a CPU. An image of 128 x 128 took 12.6 ms in passes of 8 and 23.1 ms in one of 64
# (EfficientNet-Lite0, one thread of a busy machine); smaller images hardly cared.
_PIXELS = 200_000
# In a batch, from which on it pays to compile: about two seconds, which four images of 64 x 64 win in 200 iterations.
_WORTH = 4 * 64 * 64


@dataclass(frozen=True)
class _Compiled:
    """For batches of one shape.

    Attributes:
        run: Pixels, mix and shift to features and gradient, in OpenVINO; None if PyTorch has to.
        sentence: Which one runs, and if it is PyTorch, why.
    """

    run: Callable[..., list[Tensor]] | None
    sentence: str


_compiled: WeakKeyDictionary[ImageEncoder, dict[torch.Size, _Compiled]] = WeakKeyDictionary()
_compiling = threading.Lock()


def pull(encoder: ImageEncoder, pixels: Tensor, mix: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Features of a batch, and the gradient of a quadratic function of them with regard to the pixels.

    The function is known by its gradient with regard to the features, ``mix @ features - shift``: every
    distance to targets, of single images or of means of several, is of that form. So targets are encoded
    once, and the images of a batch share passes in either direction. Weights need no gradient.

    On a CPU with OpenVINO (extra ``fast``), both directions are one compiled graph, made at the first call for
    a network and shape of batch, and checked against PyTorch; so it may not be called inside of
    `mmer_core.tracing.running`. It gives the same within rounding.

    Args:
        encoder: The frozen network; its preprocessing is differentiated as well.
        pixels: ``(B, 3, H, W)`` float32 in 0..255, on the encoder's device.
        mix: ``(B, B)``.
        shift: ``(B, D)``.

    Returns:
        Features ``(B, D)`` float32, and the gradient ``(B, 3, H, W)``.
    """
    run = _compiled_for(encoder, pixels).run
    if run is None:
        return _torch_pull(encoder, pixels, mix, shift)
    features, gradient = run(pixels.detach(), mix, shift)
    return features, gradient


def pull_runtime(encoder: ImageEncoder, pixels: Tensor) -> str:
    """A sentence that says what runs `pull` for such a batch ``(B, 3, H, W)``, and why."""
    return _compiled_for(encoder, pixels).sentence


def _torch_pull(encoder: ImageEncoder, pixels: Tensor, mix: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    with running(), torch.enable_grad():
        pixels = pixels.detach().requires_grad_()
        parts = pixels.split(_images_a_pass(pixels))
        features = torch.cat([encoder.module(encoder.scale(part)).float() for part in parts])
        (gradient,) = torch.autograd.grad(features, pixels, mix @ features.detach() - shift)
    return features.detach(), gradient


def _compiled_for(encoder: ImageEncoder, pixels: Tensor) -> _Compiled:
    if pixels.device.type != "cpu":
        return _Compiled(None, f"PyTorch crafts on {pixels.device}")
    if pixels[:, 0].numel() < _WORTH:
        return _Compiled(None, "PyTorch crafts batches as small as this")
    with _compiling:
        known = _compiled.setdefault(encoder, {})
        if pixels.shape not in known:
            known[pixels.shape] = _compile(encoder, pixels.shape)
        return known[pixels.shape]


def _compile(encoder: ImageEncoder, shape: torch.Size) -> _Compiled:
    """What is tried out does not depend on the batch that happens to be first."""
    stream = torch.Generator().manual_seed(0)
    pixels = 255 * torch.rand(shape, generator=stream)
    mix = torch.randn(len(pixels), len(pixels), generator=stream)
    shift = torch.randn(len(pixels), encoder.width, generator=stream)
    try:
        with tracing():
            from mmer_core.poisoning.networks.pull_graph import pull_graph

            make = partial(pull_graph, encoder, pixels, mix, shift)
            run = compile_graph(make, partial(_torch_pull, encoder), (pixels, mix, shift))
    except Refused as refusal:
        return _Compiled(None, f"PyTorch crafts, because {refusal}")
    return _Compiled(run, "OpenVINO crafts")


def _images_a_pass(pixels: Tensor) -> int:
    if pixels.device.type != "cpu":
        return len(pixels)
    return max(1, _PIXELS // pixels[0, 0].numel())


def encode_all(encoder: ImageEncoder, images: Tensor, batch_size: int) -> Tensor:
    """``(n, H, W, 3)`` uint8 images to ``(n, D)`` float32 features on the encoder's device."""
    parts: Sequence[Tensor] = [encoder.encode(part).clone() for part in images.split(batch_size)]
    return torch.cat([torch.empty(0, encoder.width, device=encoder.device), *parts])

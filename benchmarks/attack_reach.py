"""How much of a network a few pixels change: what no program that computes the rest once can do better than."""

import numpy as np
import torch
from torch import nn

from benchmarks.attack import MEAN, STD

_DRAWS = 24
_ROUNDING = 1e-5  # of a map's largest number


@torch.inference_mode()
def most_times(module: nn.Module, image: np.ndarray, pixels: int) -> float | None:
    """Multiply-adds of all convolutions and linear layers, divided by those of the positions that some pixels change.

    Positions are counted, on average over pixels drawn at random, by comparing every layer's output with that of the image
    itself; a layer without positions is counted whole, and one that is not run not at all. So this needs none of mmer's own reckoning. None for a network with
    attention, in which everything changes.

    Args:
        module: ``(B, 3, H, W)`` normalised floats to ``(B, S)``.
        image: ``(H, W, 3)`` uint8.
        pixels: How many change.
    """
    if any(isinstance(layer, nn.MultiheadAttention) for layer in module.modules()):
        return None
    found: dict[nn.Module, torch.Tensor] = {}

    def keep(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        found[layer] = output

    def outputs(shown: np.ndarray) -> dict[nn.Module, torch.Tensor]:
        module((torch.from_numpy(shown)[None].permute(0, 3, 1, 2).float() / 255 - MEAN[0]) / STD[0])
        return dict(found)

    hooks = [
        layer.register_forward_hook(keep)
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    rng = np.random.default_rng(0)
    clean = outputs(image)
    every = changing = 0
    for _ in range(_DRAWS):
        changed = image.copy()
        places = rng.choice(image.shape[0] * image.shape[1], pixels, replace=False)
        changed.reshape(-1, 3)[places] = 255 * rng.integers(0, 2, (pixels, 3))
        for layer, after in outputs(changed).items():
            before, weight = clean[layer], layer.get_parameter("weight")
            differs = (after - before).abs().amax(1) > _ROUNDING * before.abs().amax()
            every += weight.numel() * differs.numel()
            changing += weight.numel() * int(differs.sum() if after.ndim == 4 else differs.numel())
    for hook in hooks:
        hook.remove()
    return every / changing

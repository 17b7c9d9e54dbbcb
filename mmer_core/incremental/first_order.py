"""The gradient by pixels, and what one changed pixel does to first order: thousands of them for one gradient.

The early layers are computed exactly, in windows; the rest of the network is replaced by its gradient at the image.
So the response of the early layers to an extreme pixel is exact, and the rest is a scalar product.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mmer_core.errors import AttackError, out_of_memory
from mmer_core.incremental.network import IncrementalNetwork
from mmer_core.incremental.patches import cells_of
from mmer_core.incremental.planning import Planner
from mmer_core.tracing import running

Value = Callable[[Tensor], Tensor]
"""Features ``(1, D)`` to a number ``(1,)``; differentiable."""

_BATCH = 256  # windows at a time, so that they fit into the cache


class FirstOrder:
    """Estimates a function of the features of images that differ from a clean one in a single pixel; not thread-safe.

    Args:
        planner: Planner of the network. If none of its layers is local, the gradient is that of the pixels.
        mirrored: Whether the features are the mean over the image and its mirror image.
    """

    def __init__(self, planner: Planner, mirrored: bool = False) -> None:
        self._planner = planner
        self._networks = [planner.split.start() for _ in range(2 if mirrored else 1)]

    def __call__(self, image: Tensor, pixels: Tensor, colours: Tensor, value: Value) -> Tensor:
        """Estimate ``value`` of ``B`` changed images.

        Args:
            image: ``(H, W, 3)`` uint8.
            pixels: ``(B, 2)`` int64, ``(y, x)``.
            colours: ``(B, 3)`` uint8, the new colours of these pixels.
            value: What to estimate.

        Returns:
            ``(B,)`` float32: the value of ``image`` plus its gradient after the early layers times their change.

        Raises:
            AttackError: The network cannot be differentiated.
        """
        views = [(image, pixels), (image.flip(1), across(pixels, image.shape[1]))]
        with running():
            at_image, found = self._linearise([view for view, _ in views], value)
            values = self._planner.input(colours[:, None, None])[:, None, :, 0, 0]  # (B, 1, 3)
            estimates = at_image.expand(len(pixels)).clone()
            for network, slope, (_, places) in zip(self._networks, found, views, strict=False):
                for start in range(0, len(pixels), _BATCH):
                    part = slice(start, start + _BATCH)
                    estimates[part] += _effect(network, slope, places[part], values[part])
        return estimates.cpu()

    def gradient(self, image: Tensor, value: Value) -> tuple[Tensor, Tensor]:
        """``value`` ``(1,)`` of an image, ``(H, W, 3)`` float32 in 0..255, and its gradient ``(H, W, 3)``.

        Raises:
            AttackError: The network cannot be differentiated.
        """
        with running(), torch.inference_mode(False), torch.enable_grad():
            pixels = image.to(self._planner.device, copy=True).requires_grad_()
            at_image = value(self.features(pixels))
            (slope,) = slopes(at_image, [pixels])
        return at_image.detach().cpu(), slope.cpu()

    def features(self, image: Tensor) -> Tensor:
        """Features ``(1, D)`` float32 of an image, ``(H, W, 3)`` float32 in 0..255 on the device; differentiable."""
        views = [image, image.flip(1)][: len(self._networks)]
        features = [self._planner.module(self._planner.input(view[None]).contiguous()) for view in views]
        return torch.stack(features).mean(dim=0).float()

    def _linearise(self, views: list[Tensor], value: Value) -> tuple[Tensor, list[Tensor]]:
        """The value ``(1,)``, and its gradient ``(H * W, C)`` by the map after the early layers of each view."""
        late, maps = self._planner.split.late, []
        for network, view in zip(self._networks, views, strict=False):
            with torch.inference_mode():
                network.remember(0, self._planner.input(view[None]))
            height, width = network.area.map_shape
            maps.append(network.clean_map(0).view(1, height, width, -1).permute(0, 3, 1, 2))
        with torch.inference_mode(False), torch.enable_grad():
            maps = [each.clone().requires_grad_() for each in maps]
            # Copies, because in-place layers are not allowed on leaf tensors that require gradients.
            features = torch.stack([late(each.clone()) for each in maps]).mean(dim=0)
            at_image = value(features.float())
            found = slopes(at_image, maps)
        return at_image.detach(), [slope.permute(0, 2, 3, 1).flatten(0, 2) for slope in found]


def slopes(value: Tensor, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    """The gradient of ``value`` ``(1,)`` by each of the leaves. Raises `AttackError` where there is none."""
    try:
        return torch.autograd.grad(value.sum(), leaves)
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        # An in-place operation destroys what the gradient needs, or detaches it.
        raise AttackError(
            f"the network has no gradient ({error}); choose an attack that needs none, like sparse-rs"
        ) from error


@torch.inference_mode()
def _effect(network: IncrementalNetwork, slope: Tensor, pixels: Tensor, values: Tensor) -> Tensor:
    """``(B,)``: slope times change of the map, for pixels ``(B, 2)`` with normalised values ``(B, 1, 3)``."""
    where = pixels.to(values.device, torch.int32)[:, None]
    slots = torch.zeros(len(where), dtype=torch.int32, device=values.device)
    changed = network.windows(slots, where, values)
    cells = cells_of(network.area.at(where), network.area.shape, network.area.map_shape[1]).view(-1)
    change = changed.permute(0, 2, 3, 1).flatten(0, 2) - network.clean_map(0)[cells]
    return (change * slope[cells]).sum(dim=1).view(len(where), -1).sum(dim=1)


def across(pixels: Tensor, width: int) -> Tensor:
    """The same pixels ``(..., 2)`` in the mirror image."""
    return torch.stack([pixels[..., 0], width - 1 - pixels[..., 1]], dim=-1)

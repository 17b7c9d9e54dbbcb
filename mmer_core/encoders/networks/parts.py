"""Regions of an image and tokens of a text, before they are pooled."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from mmer_core.encoders.networks.pooling import Pooling


class Regions(nn.Module):
    """``(B, 3, H, W)`` to ``(B, grid * grid * D)``: an image network's last feature map, averaged by region.

    Args:
        module: Has a method ``maps`` from ``(B, 3, H, W)`` to ``(B, D, h, w)``.
    """

    def __init__(self, module: nn.Module, grid: int) -> None:
        super().__init__()
        self.module, self.grid = module, grid

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.module.maps(images)  # type: ignore[operator]
        regions = functional.adaptive_avg_pool2d(maps, self.grid)  # (B, D, grid, grid)
        return regions.flatten(2).transpose(1, 2).flatten(1)


class Tokens(Pooling):
    """A transformer's token states to ``(B, count * D)``: longer texts are truncated, padding is zeros."""

    def __init__(self, model: nn.Module, count: int) -> None:
        super().__init__(model)
        self.count = count

    def forward(self, **tokens: Tensor) -> Tensor:
        states, there = token_states(self.model, tokens)
        states = states.masked_fill(~there, 0.0)[:, : self.count]
        return functional.pad(states, (0, 0, 0, self.count - states.shape[1])).flatten(1)


def token_states(model: Any, tokens: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """A transformer's last states ``(B, L, D)``, and ``(B, L, 1)`` bool: True for tokens that are not padding."""
    return model(**tokens).last_hidden_state, tokens["attention_mask"][..., None].bool()

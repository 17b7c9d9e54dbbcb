"""Pixels of one proposal that coincide: the later one wins."""

from __future__ import annotations

from mmer_core.heavy import torch


def last_colours(places: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
    """``(B, K, 3)``: of each pixel the colour that stands, which is the last of those at its place.

    Args:
        places: ``(B, K)`` integers.
        colours: ``(B, K, 3)``.
    """
    count = places.shape[1]
    if count == 1:
        return colours
    same = places[:, :, None] == places[:, None, :]  # (B, K, K)
    last = (same * torch.arange(1, count + 1, device=same.device)).argmax(2)
    return colours.gather(1, last[..., None].expand(-1, -1, 3))

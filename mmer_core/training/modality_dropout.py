"""Modality dropout: samples lose streams while a model trains, so that it learns to predict without them."""

from __future__ import annotations

from mmer_core.heavy import Tensor, torch


def drop_streams(present: Tensor, rate: float, generator: torch.Generator | None = None) -> Tensor:
    """Which streams a training step may use: each that is present is dropped with probability ``rate``.

    As ModDrop of Neverova et al. 2016, https://arxiv.org/abs/1501.00102, but never all: a sample that would lose
    all its streams keeps one of them, each with the same chance.

    Args:
        present: ``(B, S)`` bool, which streams each sample has.
        rate: In 0..1 (1 excluded).
        generator: On the device; the process's own where left out.

    Returns:
        ``(B, S)`` bool, a subset of ``present``.
    """
    if rate == 0:
        return present
    draw = torch.rand(present.shape, generator=generator, device=present.device).masked_fill(~present, -1.0)
    # The stream with the highest draw is kept in any case; it is each with the same chance.
    luckiest = torch.nn.functional.one_hot(draw.argmax(dim=1), present.shape[1]).bool()
    return present & ((draw >= rate) | luckiest)

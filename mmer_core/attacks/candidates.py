"""Sparse candidates: what an attack proposes, instead of whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mmer_core.errors import AttackError
from mmer_core.heavy import torch

Images = TypeVar("Images", np.ndarray, "torch.Tensor")

Pixel = tuple[int, int, int, int, int]
"""One changed pixel: ``(y, x, red, green, blue)``."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """``Q`` proposals that each rewrite up to ``K`` pixels of one image.

    When two pixels of a proposal coincide, the later one wins (so fewer than ``K`` pixels change).

    Attributes:
        positions: ``(Q, K, 2)`` int32, ``(y, x)`` from the top left corner, not negative.
        colours: ``(Q, K, 3)`` uint8, red, green, blue.

    Raises:
        AttackError: a shape or a dtype is another one, ``K`` is 0, or a position is negative.
    """

    positions: np.ndarray
    colours: np.ndarray

    def __post_init__(self) -> None:
        positions, colours = self.positions, self.colours
        if positions.dtype != np.int32 or positions.ndim != 3 or positions.shape[2] != 2:
            raise AttackError(
                f"positions of candidates are {positions.dtype} {positions.shape}; give int32 (Q, K, 2)"
            )
        if colours.dtype != np.uint8 or colours.shape != (*positions.shape[:2], 3):
            raise AttackError(
                f"colours of candidates are {colours.dtype} {colours.shape}; "
                f"give uint8 {(*positions.shape[:2], 3)} to match their positions"
            )
        if positions.shape[1] < 1:
            raise AttackError("candidates change K = 0 pixels; give each at least one pixel")
        if positions.size and positions.min() < 0:
            raise AttackError(f"a candidate's position is {positions.min()}; positions start at 0")

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: slice) -> Candidates:
        return Candidates(self.positions[index], self.colours[index])

    @property
    def pixels(self) -> int:
        """``K``."""
        return int(self.positions.shape[1])


def concatenate(parts: Sequence[Candidates]) -> Candidates:
    """Join candidates of the same ``K``, in order; ``parts`` is not empty."""
    return Candidates(
        np.concatenate([part.positions for part in parts]), np.concatenate([part.colours for part in parts])
    )


def from_flat(flat: np.ndarray, colours: np.ndarray, width: int, pixels: int | None = None) -> Candidates:
    """Candidates from positions counted in reading order.

    All candidates of a search must rewrite the same number of pixels to be judged in one batch; those that
    need fewer repeat their last pixel, which changes nothing.

    Args:
        flat: ``(Q, k)`` integers, ``y * width + x``.
        colours: ``(Q, k, 3)`` uint8.
        width: Width of the image.
        pixels: ``K``, at least ``k``; ``k`` itself if None.
    """
    missing = 0 if pixels is None else pixels - flat.shape[1]
    flat = np.pad(flat, ((0, 0), (0, missing)), mode="edge")
    colours = np.pad(colours, ((0, 0), (0, missing), (0, 0)), mode="edge")
    return Candidates(np.stack(np.divmod(flat, width), axis=2).astype(np.int32), colours)


def apply(images: Images, candidates: Candidates) -> Images:
    """Write the ``i``-th candidate's pixels into a copy of the ``i``-th image.

    Args:
        images: ``(Q, H, W, 3)`` uint8, an array or a tensor on any device; left as it is.
        candidates: ``Q`` candidates.

    Raises:
        AttackError: the images are no uint8 RGB, their number differs, or a position is outside.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype not in (np.uint8, torch.uint8):
        raise AttackError(
            f"images to attack are {images.dtype} {tuple(images.shape)}; give uint8 (Q, H, W, 3)"
        )
    if len(images) != len(candidates):
        raise AttackError(f"{len(candidates)} candidates for {len(images)} images; give one image for each")
    if len(candidates) and (candidates.positions.max(axis=(0, 1)) >= tuple(images.shape[1:3])).any():
        raise AttackError(
            f"a candidate's position reaches {candidates.positions.max(axis=(0, 1)).tolist()}, "
            f"outside an image of {tuple(images.shape[1:3])}; keep positions below the image's size"
        )
    if isinstance(images, torch.Tensor):
        return _apply_torch(images, candidates)
    attacked, which = images.copy(), np.arange(len(images))
    # One assignment per pixel rank, because only then is it defined that the later of two pixels wins.
    for k in range(candidates.pixels):
        attacked[which, candidates.positions[:, k, 0], candidates.positions[:, k, 1]] = candidates.colours[
            :, k
        ]
    return attacked


def _apply_torch(images: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    attacked, which = images.clone(), torch.arange(len(images), device=images.device)
    positions = torch.as_tensor(candidates.positions, dtype=torch.int64, device=images.device)
    colours = torch.as_tensor(candidates.colours, device=images.device)
    for k in range(candidates.pixels):
        attacked[which, positions[:, k, 0], positions[:, k, 1]] = colours[:, k]
    return attacked


def changed_pixels(clean: np.ndarray, attacked: np.ndarray) -> int:
    """How many pixels of two ``(H, W, 3)`` images differ in any channel."""
    return int((clean != attacked).any(axis=2).sum())


def list_changes(clean: np.ndarray, attacked: np.ndarray) -> tuple[Pixel, ...]:
    """The pixels of ``attacked`` that differ from ``clean`` (both ``(H, W, 3)``), in reading order."""
    return tuple(
        (int(y), int(x), *(int(value) for value in attacked[y, x]))  # type: ignore[misc]
        for y, x in np.argwhere((clean != attacked).any(axis=2))
    )


def write_changes(clean: np.ndarray, changes: Sequence[Sequence[int]]) -> np.ndarray:
    """A copy of ``clean`` with the listed pixels written: the inverse of ``list_changes``."""
    attacked = clean.copy()
    for y, x, red, green, blue in changes:
        attacked[y, x] = (red, green, blue)
    return attacked

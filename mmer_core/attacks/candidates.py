"""Sparse candidates: what an attack proposes, instead of whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mmer_core.coinciding import last_colours
from mmer_core.errors import AttackError
from mmer_core.heavy import torch
from mmer_core.transfer import to_device

Images = TypeVar("Images", np.ndarray, "torch.Tensor")

Pixel = tuple[int, int, int, int, int]
"""One changed pixel: ``(y, x, red, green, blue)``."""


@dataclass(frozen=True, eq=False)
class Exchange:
    """Candidates as what they change of a set of pixels that is in use.

    Attributes:
        places: ``(B, K)`` int64, the pixels of the set, which are distinct.
        colours: ``(B, K, 3)`` uint8, theirs.
        columns: ``(B, c)`` int64, which of the ``K`` differ in the candidate; all others are those of the set.
        usual: How many differ in most candidates of the search.
    """

    places: torch.Tensor
    colours: torch.Tensor
    columns: torch.Tensor
    usual: int

    def __getitem__(self, index: slice | torch.Tensor) -> Exchange:
        return Exchange(self.places[index], self.colours[index], self.columns[index], self.usual)


@dataclass(frozen=True, eq=False)
class Candidates:
    """``B`` proposals that each rewrite up to ``K`` pixels of one image, as tensors on one device.

    When two pixels of a proposal coincide, the later one wins (so fewer than ``K`` pixels change).

    Attributes:
        places: ``(B, K)`` int64, pixels in reading order, ``y * width + x``.
        colours: ``(B, K, 3)`` uint8, red, green, blue.
        distinct: Whether it is known that no pixels of a proposal coincide, which is cheaper to write.
        exchange: The same as exchanges against sets in use, for victims that judge them faster; None where they are none.

    Raises:
        AttackError: a shape or a dtype is another one, or ``K`` is 0.
    """

    places: torch.Tensor
    colours: torch.Tensor
    distinct: bool = False
    exchange: Exchange | None = None

    def __post_init__(self) -> None:
        places, colours = self.places, self.colours
        if places.dtype != torch.int64 or places.ndim != 2:
            raise AttackError(
                f"places of candidates are {places.dtype} {tuple(places.shape)}; give int64 (B, K)"
            )
        if colours.dtype != torch.uint8 or colours.shape != (*places.shape, 3):
            raise AttackError(
                f"colours of candidates are {colours.dtype} {tuple(colours.shape)}; "
                f"give uint8 {(*places.shape, 3)} to match their places"
            )
        if not places.shape[1]:
            raise AttackError("candidates change K = 0 pixels; give each at least one pixel")

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: slice | torch.Tensor) -> Candidates:
        exchange = self.exchange and self.exchange[index]
        return Candidates(self.places[index], self.colours[index], self.distinct, exchange)

    @property
    def pixels(self) -> int:
        """``K``."""
        return int(self.places.shape[1])

    def positions(self, width: int | torch.Tensor) -> torch.Tensor:
        """``(B, K, 2)`` int64, ``(y, x)`` in images of this width, a number or ``(B,)``."""
        across = width[:, None] if isinstance(width, torch.Tensor) else width
        return torch.stack([self.places // across, self.places % across], dim=2)

    def final_colours(self) -> torch.Tensor:
        """``(B, K, 3)``: of each pixel the colour that stands, which is the last of those at its place."""
        return self.colours if self.distinct else last_colours(self.places, self.colours)


def from_flat(flat: np.ndarray, colours: np.ndarray, pixels: int | None = None) -> Candidates:
    """Candidates from arrays, on the CPU.

    All candidates of a search must rewrite the same number of pixels to be judged in one batch; those that
    need fewer repeat their last pixel, which changes nothing.

    Args:
        flat: ``(B, k)`` integers, ``y * width + x``.
        colours: ``(B, k, 3)`` uint8.
        pixels: ``K``, at least ``k``; ``k`` itself if None.
    """
    missing = 0 if pixels is None else pixels - flat.shape[1]
    flat = np.pad(flat, ((0, 0), (0, missing)), mode="edge")
    colours = np.pad(colours, ((0, 0), (0, missing), (0, 0)), mode="edge")
    return Candidates(torch.from_numpy(flat.astype(np.int64)), torch.from_numpy(colours))


class Renderer:
    """Candidates as images, in one buffer that every call writes anew.

    Args:
        clean: ``(n, H, W, 3)`` uint8, on the device of the candidates.
    """

    def __init__(self, clean: torch.Tensor) -> None:
        self._clean, self._shape = clean.flatten(1, 2), clean.shape[1:]
        self._buffer = self._clean[:0]

    def __call__(self, rows: torch.Tensor, candidates: Candidates) -> torch.Tensor:
        """``(B, H, W, 3)`` uint8: the images ``rows`` ``(B,)`` int64 with the candidates' pixels, until the next call."""
        if len(self._buffer) < len(candidates):
            self._buffer = self._clean.new_empty(len(candidates), *self._clean.shape[1:])
        images = self._buffer[: len(candidates)]
        torch.index_select(self._clean, 0, to_device(rows, images.device), out=images)
        where = candidates.places[..., None].expand(-1, -1, 3)
        return images.scatter_(1, where, candidates.final_colours()).view(-1, *self._shape)


def apply(images: Images, candidates: Candidates) -> Images:
    """Write the ``i``-th candidate's pixels into a copy of the ``i``-th image.

    Args:
        images: ``(B, H, W, 3)`` uint8, an array or a tensor on any device; left as it is.
        candidates: ``B`` candidates.

    Raises:
        AttackError: the images are no uint8 RGB, their number differs, or a place is outside.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype not in (np.uint8, torch.uint8):
        raise AttackError(
            f"images to attack are {images.dtype} {tuple(images.shape)}; give uint8 (B, H, W, 3)"
        )
    if len(images) != len(candidates):
        raise AttackError(f"{len(candidates)} candidates for {len(images)} images; give one image for each")
    check_places(candidates.places, images.shape[1] * images.shape[2])
    if isinstance(images, np.ndarray):
        return _written(torch.from_numpy(images), candidates).numpy()
    return _written(images, candidates)


def _written(images: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    here = Candidates(candidates.places.to(images.device), candidates.colours.to(images.device))
    return Renderer(images)(torch.arange(len(images)), here)


def check_places(places: torch.Tensor, areas: int | torch.Tensor) -> None:
    """Refuse places outside images of ``areas`` pixels (AttackError)."""
    outside = (places < 0) | (places >= areas)
    if bool(outside.any()):
        raise AttackError(
            f"a candidate's place is {int(places[outside][0])}, outside its image; places are y * width + x, from 0"
        )


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

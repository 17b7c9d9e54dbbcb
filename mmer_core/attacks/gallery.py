"""What attacked images are ranked among: embeddings of a whole split, computed once and shared by all shards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmer_core.heavy import Tensor, torch

_FILES = ("texts.npy", "images.npy")


@dataclass(frozen=True)
class Gallery:
    """Unit vectors of a split by one model.

    Attributes:
        texts: ``(T, D)`` float32 of all captions.
        images: ``(N, D)`` float32 of all clean images.
    """

    texts: Tensor
    images: Tensor

    def write(self, folder: Path) -> None:
        """Write both arrays into a folder."""
        for name, vectors in zip(_FILES, (self.texts, self.images), strict=True):
            np.save(folder / name, vectors.cpu().numpy(), allow_pickle=False)

    @classmethod
    def open(cls, folder: Path, device: torch.device) -> Gallery:
        """What `write` wrote, memory-mapped where the device is the CPU."""
        # Copy-on-write, because torch takes no read-only memory; nothing writes, so that processes share the pages.
        texts, images = (np.load(folder / name, mmap_mode="c", allow_pickle=False) for name in _FILES)
        return cls(torch.from_numpy(texts).to(device), torch.from_numpy(images).to(device))

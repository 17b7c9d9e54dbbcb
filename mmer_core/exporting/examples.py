"""Inputs for comparing an exported file with its model: real ones and random ones."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.encoders import ImageEncoder, TextEncoder
from mmer_core.exporting.towers import Tower

BATCHES = (1, 2, 5)


def cases(
    tower: Tower, split: PreparedSplit, image: ImageEncoder, text: TextEncoder | None, seed: int
) -> Iterator[list[Tensor]]:
    """For every batch size, samples of the split, and noise: random pixels and shuffled tokens.

    Args:
        seed: Seed of all random choices.
    """
    generator = np.random.default_rng(seed)
    for size in BATCHES:
        rows = generator.integers(len(split.image_sample) if tower.images else 1, size=size)
        real = [_pixels(split, tower, stream, rows, image) for stream in tower.images]
        noise = [torch.from_numpy(generator.integers(0, 256, one.shape, dtype=np.uint8)) for one in real]
        if tower.tokens and text is not None:
            tokens = text.tokens(texts(split, generator, size))
            real += [tokens[key] for key in tower.tokens]
            order = torch.from_numpy(generator.permutation(tokens["input_ids"].shape[1]))
            shuffled = tokens | {"input_ids": tokens["input_ids"][:, order]}
            noise += [shuffled[key] for key in tower.tokens]
        yield real
        yield noise


def texts(split: PreparedSplit, generator: np.random.Generator, size: int) -> list[str]:
    """Texts of the split, or placeholder texts if it has none."""
    pool: Sequence[str] = split.texts or ["a person", "two people in the rain", "a child with a dog"]
    return [pool[row] for row in generator.integers(len(pool), size=size)]


def _pixels(split: PreparedSplit, tower: Tower, stream: str, rows: np.ndarray, image: ImageEncoder) -> Tensor:
    photos = split.images("context" if stream == "pixels" else stream)
    return torch.from_numpy(image.resize(np.stack([np.asarray(photos[row]) for row in rows])))

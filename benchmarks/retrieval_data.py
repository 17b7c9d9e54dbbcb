"""Millions of vectors distributed like real embeddings, and queries to search them with.

The real ones are photos and captions of a dataset in the shared space of a joint model that mmer trains on it. A
synthetic vector is a randomly drawn real one plus normal noise with the covariance of its nearest real neighbours
(a locally adaptive kernel density estimate), normalised to unit length. The scale of the noise is chosen so that a
synthetic set of the same size has the same local intrinsic dimension, which determines how hard neighbours are to find.
Base vectors are made from photos and queries from captions, so that, as in real use, queries are out of the base's
distribution.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from flows.jobs import train
from flows.terminal import progress_bars
from mmer_core.config import (
    EncoderConfig,
    EvaluationConfig,
    IngestConfig,
    ModelConfig,
    RuntimeConfig,
    SyntheticConfig,
    TrainingConfig,
    TrainJob,
)
from mmer_core.retrieval.record import Source
from mmer_core.stages import Context
from mmer_core.stages.gallery import Gallery

Vectors = npt.NDArray[np.float32]

WIDTH = 256
_NEIGHBOURS = 64  # neighbours of a real vector whose covariance its noise has
_LID_NEIGHBOURS = 20
_LID_VECTORS = 2000
_AT_ONCE = 65_536
_HALVINGS = 12


@dataclass(frozen=True)
class Real:
    """Unit vectors of a dataset: ``(N, D)`` photos and ``(T, D)`` captions."""

    images: Vectors
    texts: Vectors


class SyntheticVectors:
    """An unlimited supply of vectors distributed like the ``(N, D)`` real ones."""

    def __init__(self, real: Vectors) -> None:
        self._real = real
        self._nearest = _nearest(real, real, min(_NEIGHBOURS + 1, len(real)))[1][:, 1:]
        self.dimension = local_dimension(real)
        self.width = self._width()

    def blocks(self, count: int, seed: int) -> Iterator[Vectors]:
        """``count`` vectors in blocks; a shorter series is a prefix of a longer one."""
        for number, start in enumerate(range(0, count, _AT_ONCE)):
            block = self._draw(_AT_ONCE, self.width, np.random.default_rng((seed, number)))
            yield block[: count - start]

    def draw(self, count: int, seed: int) -> Vectors:
        """``(count, D)`` vectors."""
        return np.concatenate(list(self.blocks(count, seed)))

    def write(self, file: Path, count: int, seed: int) -> None:
        """Write ``count`` vectors as a ``.npy`` file that need not fit into memory."""
        out = open_memmap(file, mode="w+", dtype=np.float32, shape=(count, self._real.shape[1]))
        start = 0
        for block in self.blocks(count, seed):
            out[start : start + len(block)] = block
            start += len(block)
        out.flush()

    def _width(self) -> float:
        low, high = 0.0, 4.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            some = self._draw(len(self._real), middle, np.random.default_rng(0))
            low, high = (middle, high) if local_dimension(some) < self.dimension else (low, middle)
        return high

    def _draw(self, count: int, width: float, generator: np.random.Generator) -> Vectors:
        parents = generator.integers(len(self._real), size=count)
        order = np.argsort(parents, kind="stable")
        starts = np.flatnonzero(np.diff(parents[order], prepend=-1))
        noise = generator.standard_normal((count, self._nearest.shape[1]), dtype=np.float32)
        noise *= width / np.sqrt(self._nearest.shape[1])
        vectors = np.empty((count, self._real.shape[1]), np.float32)
        for rows in np.split(order, starts[1:]):
            parent = parents[rows[0]]
            around = self._real[self._nearest[parent]]
            vectors[rows] = self._real[parent] + noise[rows] @ (around - around.mean(axis=0))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def embeddings(flickr8k: Path | None, images: int, runtime: RuntimeConfig, kept: Path | None) -> Real:
    """Train a joint model of width `WIDTH` on a Flickr8k folder, or on ``images`` drawn photos, and embed them all.

    Args:
        kept: File to read them from if it exists; otherwise they are written to it.
    """
    if kept is None or not kept.exists():
        real = _embedded(flickr8k, images, runtime)
        if kept is not None:
            np.savez(kept, images=real.images, texts=real.texts)
        return real
    with np.load(kept, allow_pickle=False) as arrays:
        return Real(arrays["images"], arrays["texts"])


def _embedded(flickr8k: Path | None, images: int, runtime: RuntimeConfig) -> Real:
    job = TrainJob(
        dataset=IngestConfig(dataset="flickr8k", root=flickr8k, synthetic=SyntheticConfig(images=images)),
        encoders=EncoderConfig(image="packaged:efficientnet_lite0"),
        model=ModelConfig(family="joint", embedding=WIDTH, heads=1),
        training=TrainingConfig(),
        evaluation=EvaluationConfig(resamples=10, split="val"),
        runtime=runtime,
    )
    with progress_bars():
        trained = train.fn(job).artifacts()
    source = Source(prepared=trained.prepared, features=trained.features, split="all")
    gallery = Gallery.open(Context(runtime), [source], trained.model)
    found = [gallery.vectors(target, np.arange(gallery.count(target))) for target in ("image", "text")]
    return Real(*found)


def local_dimension(vectors: Vectors) -> float:
    """Median local intrinsic dimension by maximum likelihood (Levina & Bickel 2004; Amsaleg et al. 2015)."""
    some = np.random.default_rng(0).choice(len(vectors), min(_LID_VECTORS, len(vectors)), replace=False)
    cosines, _ = _nearest(vectors[some], vectors, _LID_NEIGHBOURS + 1)
    distances = np.sqrt(np.maximum(2 - 2 * cosines[:, 1:], 1e-12))
    return float(np.median(-1 / np.log(distances[:, :-1] / distances[:, -1:]).mean(axis=1)))


def _nearest(queries: Vectors, vectors: Vectors, k: int) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """``(Q, k)`` cosines and rows of the nearest vectors, nearest first."""
    parts = []
    for start in range(0, len(queries), 1024):
        scores = queries[start : start + 1024] @ vectors.T
        rows = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        found = np.take_along_axis(scores, rows, axis=1)
        order = np.argsort(-found, axis=1, kind="stable")
        parts.append([np.take_along_axis(values, order, axis=1) for values in (found, rows)])
    cosines, rows = (np.concatenate(part) for part in zip(*parts, strict=True))
    return cosines, rows

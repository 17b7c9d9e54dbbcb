"""A model with what was measured of it, opened for a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mmer_core.attacks.record import CurvePoint
from mmer_core.config import AttackConfig, ReportConfig
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.evaluation.embeddings import explained_variance, tsne, unit_rows
from mmer_core.evaluation.record import EvaluationRecord
from mmer_core.heavy import pd
from mmer_core.models import ModelSpec
from mmer_core.reporting.view import MOST_LINES, EmbeddingSpace, SimilarityMatrix
from mmer_core.store import ArtifactKey, Manifest

MOST_SIMILAR = 40
"""Samples of a heat map."""


@dataclass(frozen=True)
class Measured:
    """The files of one model and of what was measured on it.

    Attributes:
        attacked: Which pixels were attacked, in words.
        photos: The ``photos`` artifact, where photos were attacked.
        confidence: Of the evaluation's intervals.
    """

    spec: ModelSpec
    trained: Manifest
    history: pd.DataFrame
    evaluation: EvaluationRecord
    evaluation_folder: Path
    prepared: Prepared
    outcomes: pd.DataFrame | None
    curves: Sequence[CurvePoint]
    attack: AttackConfig
    attacked: str = ""
    photos: ArtifactKey | None = None
    confidence: float = 0.95

    @cached_property
    def split(self) -> PreparedSplit:
        """The split that was evaluated."""
        return self.prepared.split(self.evaluation.split)

    def embedding(self, name: str) -> np.ndarray:
        """``(N, D)`` of one embedding space."""
        return np.load(self.evaluation_folder / f"embedding_{name}.npy", allow_pickle=False)

    @cached_property
    def stream_names(self) -> Mapping[str, str]:
        """What a page calls streams, where it is not their own name."""
        return names_of_streams(self.split)

    @property
    def spaces(self) -> list[str]:
        files = self.evaluation_folder.glob("embedding_*.npy")
        return sorted(file.stem.removeprefix("embedding_") for file in files)


def names_of_streams(split: PreparedSplit) -> Mapping[str, str]:
    """What people read instead of some streams' own names: without boxes there is no context, but an image."""
    return {} if "body" in split.streams else {"context": "image"}


def save_embedding(folder: Path, name: str, embedding: np.ndarray) -> None:
    """Write one embedding space of an evaluation."""
    np.save(folder / f"embedding_{name}.npy", embedding.astype(np.float32), allow_pickle=False)


def shown_space(
    name: str,
    vectors: np.ndarray,
    groups: Sequence[str],
    config: ReportConfig,
    pairs: Sequence[tuple[int, int]] = (),
) -> EmbeddingSpace:
    """A space ``(N, D)`` reduced to what a page can show; of the rows to join by lines, `MOST_LINES` evenly spaced ones."""
    return EmbeddingSpace(
        name=name,
        points=tsne(vectors, config.seed),
        groups=groups,
        explained_variance=explained_variance(vectors),
        pairs=[pairs[place] for place in evenly(len(pairs), MOST_LINES)],
    )


def shown_similarity(
    first: tuple[str, np.ndarray], second: tuple[str, np.ndarray], rows: np.ndarray, order: str
) -> SimilarityMatrix:
    """Cosines of two named modalities ``(N, D)`` of the samples ``rows``, in their order."""
    (one, x), (other, y) = first, second
    return SimilarityMatrix(one, other, unit_rows(x[rows]) @ unit_rows(y[rows]).T, order, len(x))


def evenly(count: int, most: int) -> list[int]:
    """Places of ``count``, evenly spaced, at most ``most`` of them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def chosen_rows(count: int, config: ReportConfig) -> np.ndarray:
    """A random sample of ``count`` rows to show."""
    generator = np.random.default_rng(config.seed)
    return np.sort(generator.choice(count, size=min(config.points, count), replace=False))

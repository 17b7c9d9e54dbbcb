"""Features and labels of one split: as tensors, or with features that stay on disk and are read row by row."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.encoders.features import Features
from mmer_core.heavy import Tensor, torch
from mmer_core.matrix import (
    FileRows,
    Matrix,
    MeanRows,
    StoredRows,
    in_blocks,
    in_memory,
    mean_by_sample,
    taken,
)
from mmer_core.transfer import to_device


@dataclass(frozen=True)
class EmotionData:
    """A split of an emotion dataset.

    Attributes:
        streams: Features by stream, each ``(N, D_stream)``; a sample with several texts has their mean.
        labels: ``(N, C)`` 0/1.
        ratings: ``(N, V)`` in 1..10; ``V`` is 0 for a dataset without ratings.
        present: By stream, ``(N,)`` bool: which samples have it; all samples have a stream that is not named.
            Features of a sample that does not have the stream are zeros and mean nothing.
        clusters: ``(N,)`` int64, what was sampled together; each sample alone where that is None.
        scratch: Folder for what is computed of all samples where it shall not be in memory.
    """

    streams: Mapping[str, Matrix]
    labels: Tensor
    ratings: Tensor
    present: dict[str, Tensor] = field(default_factory=dict)
    clusters: Tensor | None = None
    scratch: Path | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def complete(self) -> Tensor:
        """``(N,)`` bool: the samples that have every stream."""
        every_sample = torch.ones(len(self), dtype=torch.bool, device=self.labels.device)
        return torch.stack([every_sample, *self.present.values()]).all(dim=0)

    @classmethod
    def load(
        cls, features: Features, split: PreparedSplit, *, stored: bool = False, scratch: Path | None = None
    ) -> EmotionData:
        """The features in memory, or on disk where they are ``stored``."""

        def read(name: str, owner: Tensor | None) -> Matrix:
            if not stored:
                rows = torch.from_numpy(features.load(split.split, name))
                return rows if owner is None else mean_by_sample(rows, owner, len(split))
            source = FileRows(features.map(split.split, name))
            return StoredRows(source if owner is None else MeanRows(source, owner.numpy(), len(split)))

        shown = torch.from_numpy(split.image_sample) if split.streams and split.without_image else None
        streams = {name: read(name, shown) for name in split.streams}
        present: dict[str, Tensor] = {}
        if shown is not None:
            present = dict.fromkeys(streams, torch.bincount(shown, minlength=len(split)) > 0)
        if split.texts:
            owner = torch.tensor(split.text_sample)
            streams["text"] = read("text", owner)
            present["text"] = torch.bincount(owner, minlength=len(split)) > 0
        labels, ratings = torch.from_numpy(split.labels), torch.from_numpy(split.vad)
        return cls(streams, labels, ratings, present, torch.from_numpy(split.clusters), scratch)

    def to(self, device: torch.device) -> EmotionData:
        return replace(
            self,
            streams={name: tensor.to(device) for name, tensor in self.streams.items()},
            labels=self.labels.to(device),
            ratings=self.ratings.to(device),
            present={name: tensor.to(device) for name, tensor in self.present.items()},
            clusters=None if self.clusters is None else self.clusters.to(device),
        )

    def rows(self, rows: Tensor, on_host: Tensor | None = None) -> EmotionBatch:
        """The samples ``rows (B,)``, in memory; features on disk are read without a wait where the rows are ``on_host`` too."""
        known = rows if on_host is None else on_host
        return EmotionBatch(
            {
                name: matrix[known if isinstance(matrix, StoredRows) else rows]
                for name, matrix in self.streams.items()
            },
            self.labels[rows],
            self.ratings[rows],
            {name: tensor[rows] for name, tensor in self.present.items()},
        )

    def selected(self, rows: Tensor) -> EmotionData:
        """The samples ``rows (M,)``, with features where they are."""
        return replace(
            self,
            streams={name: taken(matrix, rows) for name, matrix in self.streams.items()},
            labels=self.labels[rows],
            ratings=self.ratings[rows],
            present={name: tensor[rows] for name, tensor in self.present.items()},
            clusters=None if self.clusters is None else self.clusters[rows],
        )

    def loaded(self, rows: Tensor) -> EmotionData:
        """The samples ``rows (M,)``, with features in memory."""
        streams = {name: matrix[rows] for name, matrix in self.streams.items()}
        return replace(self.reading(()).selected(rows), streams=streams)

    def reading(self, streams: Collection[str]) -> EmotionData:
        """The same without other streams."""
        return replace(self, streams={name: one for name, one in self.streams.items() if name in streams})

    def blocks(self) -> Iterator[EmotionBatch]:
        """All samples, block by block: the same blocks wherever the features are."""
        width = sum(matrix.shape[1] for matrix in self.streams.values())
        for rows in in_blocks(len(self), width):
            here = all(isinstance(matrix, torch.Tensor) for matrix in self.streams.values())
            if here and len(rows) == len(self):
                yield EmotionBatch(self.tensors, self.labels, self.ratings, self.present)
            else:
                yield self.rows(to_device(rows, self.labels.device), rows)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The features by stream, which must be in memory."""
        return {name: in_memory(matrix) for name, matrix in self.streams.items()}


@dataclass(frozen=True)
class EmotionBatch:
    """Some samples of an `EmotionData`, with their features in memory."""

    streams: dict[str, Tensor]
    labels: Tensor
    ratings: Tensor
    present: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class RetrievalData:
    """A split of a captioned dataset.

    Attributes:
        images: ``(N, D_image)``.
        texts: ``(T, D_text)``.
        text_image: ``(T,)`` row of the image that each text describes.
        captions: The ``T`` raw texts.
    """

    images: Matrix
    texts: Matrix
    text_image: Tensor
    captions: list[str]

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def load(cls, features: Features, split: PreparedSplit, *, stored: bool = False) -> RetrievalData:
        """The features in memory, or on disk where they are ``stored``."""

        def read(name: str) -> Matrix:
            if stored:
                return StoredRows(FileRows(features.map(split.split, name)))
            return torch.from_numpy(features.load(split.split, name))

        return cls(read("context"), read("text"), torch.tensor(split.text_sample), split.texts)

    def to(self, device: torch.device) -> RetrievalData:
        return RetrievalData(
            self.images.to(device), self.texts.to(device), self.text_image.to(device), self.captions
        )

"""Features and labels of one split as tensors; they are small enough to live in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mmer_core.datasets.prepared import PreparedSplit
from mmer_core.encoders.features import Features
from mmer_core.heavy import Tensor, torch


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
    """

    streams: dict[str, Tensor]
    labels: Tensor
    ratings: Tensor
    present: dict[str, Tensor] = field(default_factory=dict)
    clusters: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def complete(self) -> Tensor:
        """``(N,)`` bool: the samples that have every stream."""
        every_sample = torch.ones(len(self), dtype=torch.bool, device=self.labels.device)
        return torch.stack([every_sample, *self.present.values()]).all(dim=0)

    @classmethod
    def load(cls, features: Features, split: PreparedSplit) -> EmotionData:
        streams = {name: torch.from_numpy(features.load(split.split, name)) for name in split.streams}
        present: dict[str, Tensor] = {}
        if streams and split.without_image:
            shown = torch.from_numpy(split.image_sample)
            streams = {name: mean_by_sample(rows, shown, len(split)) for name, rows in streams.items()}
            present = dict.fromkeys(streams, torch.bincount(shown, minlength=len(split)) > 0)
        if split.texts:
            owner = torch.tensor(split.text_sample)
            texts = torch.from_numpy(features.load(split.split, "text"))
            streams["text"] = mean_by_sample(texts, owner, len(split))
            present["text"] = torch.bincount(owner, minlength=len(split)) > 0
        labels, ratings = torch.from_numpy(split.labels), torch.from_numpy(split.vad)
        return cls(streams, labels, ratings, present, torch.from_numpy(split.clusters))

    def to(self, device: torch.device) -> EmotionData:
        return replace(
            self,
            streams={name: tensor.to(device) for name, tensor in self.streams.items()},
            labels=self.labels.to(device),
            ratings=self.ratings.to(device),
            present={name: tensor.to(device) for name, tensor in self.present.items()},
            clusters=None if self.clusters is None else self.clusters.to(device),
        )

    def rows(self, rows: Tensor) -> EmotionData:
        """The samples ``rows (B,)``."""
        return EmotionData(
            {name: tensor[rows] for name, tensor in self.streams.items()},
            self.labels[rows],
            self.ratings[rows],
            {name: tensor[rows] for name, tensor in self.present.items()},
            None if self.clusters is None else self.clusters[rows],
        )


@dataclass(frozen=True)
class RetrievalData:
    """A split of a captioned dataset.

    Attributes:
        images: ``(N, D_image)``.
        texts: ``(T, D_text)``.
        text_image: ``(T,)`` row of the image that each text describes.
        captions: The ``T`` raw texts.
    """

    images: Tensor
    texts: Tensor
    text_image: Tensor
    captions: list[str]

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def load(cls, features: Features, split: PreparedSplit) -> RetrievalData:
        return cls(
            torch.from_numpy(features.load(split.split, "context")),
            torch.from_numpy(features.load(split.split, "text")),
            torch.tensor(split.text_sample),
            split.texts,
        )

    def to(self, device: torch.device) -> RetrievalData:
        return RetrievalData(
            self.images.to(device), self.texts.to(device), self.text_image.to(device), self.captions
        )


def mean_by_sample(features: Tensor, sample: Tensor, count: int) -> Tensor:
    """Mean of the ``(T, D)`` rows that share a sample, as ``(count, D)``; zeros where a sample has none."""
    total = torch.zeros(count, features.shape[1]).index_add_(0, sample, features)
    return total / torch.bincount(sample, minlength=count).clamp_min(1)[:, None]

"""What an index is made of: the photos and captions of one split or of all, embedded a few rows at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.encoders.features import Features
from mmer_core.inference import TrainedModel
from mmer_core.retrieval.index import Target
from mmer_core.retrieval.one_go import first_captions
from mmer_core.retrieval.side_table import RATINGS
from mmer_core.stages.context import Context
from mmer_core.store import ArtifactKey

Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

_STREAM = {"image": "context", "text": "text"}
_AT_ONCE = 1024


@dataclass(frozen=True)
class Gallery:
    """Rows are counted through the splits: ``N`` photos, ``T`` captions."""

    splits: tuple[PreparedSplit, ...]
    features: Features
    trained: TrainedModel

    @classmethod
    def open(
        cls, context: Context, split: str, prepared: ArtifactKey, features: ArtifactKey, model: ArtifactKey
    ) -> "Gallery":
        """Raises `DatasetError` when there is no such split, `ConfigError` when the model reads emotions."""
        dataset = Prepared.open(context.folder(prepared))
        names = dataset.card.splits if split == "all" else (split,)
        trained = TrainedModel.open(context.folder(model), context.device)
        _ = trained.retrieval_model
        splits = tuple(dataset.split(name) for name in names)
        return cls(splits, Features(context.folder(features)), trained)

    def count(self, target: Target) -> int:
        """Rows of a target."""
        return self._ends(target)[-1]

    def vectors(self, target: Target, rows: Rows) -> Vectors:
        """``(n, D)`` unit vectors of some rows, in ascending order."""
        embed = self.trained.embed_images if target == "image" else self.trained.embed_texts
        parts = [
            embed(torch.from_numpy(np.array(features[local[start : start + _AT_ONCE]])))
            for features, local in self._features(target, rows)
            for start in range(0, len(local), _AT_ONCE)
        ]
        return np.concatenate(parts)

    @cached_property
    def owners(self) -> Rows:
        """``(T,)`` row of the photo that each caption describes."""
        starts = [0, *self._ends("image")]
        owners = [split.text_sample + start for split, start in zip(self.splits, starts, strict=False)]
        return np.concatenate(owners)

    def table(self, target: Target, start: int, stop: int) -> dict[str, list[Any]]:
        """Columns of the side table for the rows ``start:stop``."""
        columns: dict[str, list[Any]] = {}
        first = 0
        for split, end in zip(self.splits, self._ends(target), strict=True):
            here = range(max(start, first) - first, max(min(stop, end), first) - first)
            for name, values in _columns(split, target, here).items():
                columns.setdefault(name, []).extend(values)
            first = end
        return columns

    def _ends(self, target: Target) -> list[int]:
        return list(
            accumulate(len(split) if target == "image" else len(split.texts) for split in self.splits)
        )

    def _features(self, target: Target, rows: Rows) -> Iterator[tuple[Vectors, Rows]]:
        first = 0
        for split, end in zip(self.splits, self._ends(target), strict=True):
            local = rows[(rows >= first) & (rows < end)] - first
            if len(local):
                yield self.features.map(split.split, _STREAM[target]), local
            first = end


def _columns(split: PreparedSplit, target: Target, rows: range) -> dict[str, list[Any]]:
    """The side table's columns of some rows of one split."""
    if target == "image":
        samples = list(rows)
        first = first_captions(split.text_sample, split.texts)
        captions = [first.get(row, "") for row in samples]
    else:
        samples = split.text_sample[rows.start : rows.stop].tolist()
        captions = split.texts[rows.start : rows.stop]
    named = [name for name in ("Folder", "Filename") if name in split.table]
    places = split.table[named].iloc[samples].itertuples(index=False)
    columns: dict[str, list[Any]] = {
        "id": [split.ids[row] for row in samples],
        "caption": captions,
        "path": [PurePosixPath(*parts).as_posix() for parts in places],
        "split": [split.split] * len(samples),
    }
    names = split.card.labels
    columns["labels"] = (
        [[name for name, has in zip(names, split.labels[row], strict=True) if has] for row in samples]
        if names
        else [[] for _ in samples]
    )
    rated = split.vad.shape[1] == len(RATINGS)
    for place, name in enumerate(RATINGS):
        columns[name] = split.vad[samples, place].tolist() if rated else [None] * len(samples)
    return columns

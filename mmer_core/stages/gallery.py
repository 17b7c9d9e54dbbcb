"""What an index is made of: the photos and captions of prepared splits, embedded a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.encoders.features import Features
from mmer_core.errors import at
from mmer_core.heavy import Tensor, torch
from mmer_core.inference import TrainedModel
from mmer_core.retrieval.in_memory import first_captions
from mmer_core.retrieval.index import Target
from mmer_core.retrieval.record import Source
from mmer_core.retrieval.side_table import RATINGS
from mmer_core.stages.context import Context
from mmer_core.store import ArtifactKey

Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

_AT_ONCE = 1024


@dataclass(frozen=True)
class Piece:
    """One split with its features; samples without an image are left out, with their texts."""

    split: PreparedSplit
    features: Features

    def count(self, target: Target) -> int:
        return len(self.split.image_sample if target == "image" else self.texts)

    @cached_property
    def texts(self) -> Rows:
        """``(T,)`` rows among the split's texts."""
        return np.flatnonzero(np.isin(self.split.text_sample, self.split.image_sample))

    @property
    def owners(self) -> Rows:
        """``(T,)`` row of the photo that each caption describes."""
        return self.split.image_rows(self.split.text_sample[self.texts])

    def named(self, target: Target, rows: Rows) -> str:
        """The samples of some rows, in words."""
        whose = self.split.text_sample[self.texts] if target == "text" else self.split.image_sample
        return self.split.named(whose[rows])

    def read(self, stream: str, rows: Rows) -> Tensor:
        """Features ``(n, D_stream)`` of some rows."""
        places = self.texts[rows] if stream == "text" else rows
        return torch.from_numpy(np.array(self.features.map(self.split.split, stream)[places]))


@dataclass(frozen=True)
class Gallery:
    """Rows are counted through the pieces: ``N`` photos, ``T`` captions.

    Attributes:
        chosen: By target, the rows of the pieces that belong to the gallery, in ascending order; all where None.
    """

    pieces: tuple[Piece, ...]
    trained: TrainedModel
    chosen: Mapping[Target, Rows] | None = None

    @classmethod
    def open(
        cls,
        context: Context,
        sources: Sequence[Source],
        model: ArtifactKey,
        chosen: Mapping[Target, Rows] | None = None,
    ) -> Gallery:
        """Raises `DatasetError` when there is no such split, `ConfigError` when the model has no shared space."""
        trained = TrainedModel.open(context.folder(model), context.device)
        _ = trained.matcher
        pieces = [piece for source in sources for piece in pieces_of(context, source)]
        return cls(tuple(pieces), trained, chosen)

    def count(self, target: Target) -> int:
        """Rows of a target."""
        return self._ends(target)[-1] if self.chosen is None else len(self.chosen[target])

    def vectors(self, target: Target, rows: Rows) -> Vectors:
        """``(n, D)`` unit vectors of some rows, in ascending order."""
        parts = [
            self._embedded(target, piece, local[start : start + _AT_ONCE])
            for piece, local in self._local(target, rows)
            for start in range(0, len(local), _AT_ONCE)
        ]
        if parts:
            return np.concatenate(parts)
        # No vector, but as wide as one.
        return self._embedded("image", self.pieces[0], np.zeros(1, np.int64))[:0]

    def _embedded(self, target: Target, piece: Piece, local: Rows) -> Vectors:
        with at(lambda: piece.named(target, local)):
            if target == "text":
                return self.trained.embed_texts(piece.read("text", local))
            streams = [stream for stream in self.trained.spec.sides if stream in piece.split.streams]
            return self.trained.embed_images({stream: piece.read(stream, local) for stream in streams})

    @cached_property
    def owners(self) -> Rows:
        """``(T,)`` row of the photo that each caption describes."""
        starts = [0, *self._ends("image")]
        every = np.concatenate(
            [piece.owners + start for piece, start in zip(self.pieces, starts, strict=False)]
        )
        if self.chosen is None:
            return every
        # A photo that is left has all its captions left, and the other way round.
        return np.searchsorted(self.chosen["image"], every[self.chosen["text"]])

    def table(self, target: Target, rows: Rows) -> dict[str, list[Any]]:
        """Columns of the side table for some rows, in ascending order."""
        columns: dict[str, list[Any]] = {}
        for piece, local in self._local(target, rows):
            for name, values in _columns(piece, target, local).items():
                columns.setdefault(name, []).extend(values)
        return columns

    def _ends(self, target: Target) -> list[int]:
        return list(accumulate(piece.count(target) for piece in self.pieces))

    def _local(self, target: Target, rows: Rows) -> Iterator[tuple[Piece, Rows]]:
        """The pieces that rows are of, with the rows of each counted from its own start."""
        if self.chosen is not None:
            rows = self.chosen[target][rows]
        first = 0
        for piece, end in zip(self.pieces, self._ends(target), strict=True):
            local = rows[(rows >= first) & (rows < end)] - first
            if len(local):
                yield piece, local
            first = end


def pieces_of(context: Context, source: Source) -> list[Piece]:
    """The splits of a source. Raises `DatasetError` when there is no such split."""
    dataset = Prepared.open(context.parts(source.prepared))
    features = Features(context.parts(source.features))
    names = dataset.card.splits if source.split == "all" else (source.split,)
    return [Piece(dataset.split(name), features) for name in names]


def _columns(piece: Piece, target: Target, rows: Rows) -> dict[str, list[Any]]:
    """The side table's columns of some rows of one split."""
    split = piece.split
    if target == "image":
        samples = split.image_sample[rows].tolist()
        first = first_captions(split.text_sample, split.texts)
        captions = [first.get(row, "") for row in samples]
    else:
        texts = piece.texts[rows]
        samples = split.text_sample[texts].tolist()
        captions = [split.texts[row] for row in texts.tolist()]
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

"""Features: the frozen encoders' outputs for every image and text, computed once and stored.

A features folder holds ``<split>_<stream>.npy`` float32 arrays, ``(I, D)`` for the image streams
``context`` and ``body`` and ``(T, D)`` for ``text``, and ``features.json`` with the width of every stream.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, cast

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict

from mmer_core.base_config import SPEED
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.encoders.base import ImageEncoder, TextEncoder
from mmer_core.encoders.steps import Steps
from mmer_core.errors import at
from mmer_core.files import Files, files_of
from mmer_core.progress import Progress, silent
from mmer_core.record import Record
from mmer_core.usage import leg

FEATURES_FILE = "features.json"
_TEXTS_PER_IMAGE = 8  # a text costs roughly an eighth of an image; shards should cost about the same
_FIRST = 256  # images whose cost says how many a shard has
TEXTS_TOGETHER = _FIRST * _TEXTS_PER_IMAGE
"""Texts are batched by length within so many rows, wherever a shard begins, so that batches do not depend on the cut."""


class ShardSummary(Record):
    """Shape of one shard's features."""

    version: Literal[1] = 1
    rows: int
    width: int


class FeaturesSummary(Record):
    """Width of every stream, under its name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, int]
    version: Literal[1] = 1


@dataclass(frozen=True)
class FeatureShard:
    """Rows ``start:stop`` of one stream of one split: the unit of parallel work and of resuming.

    Attributes:
        until: The rows ``stop:until`` are cut into shards by what this one costs.
    """

    split: str
    stream: str
    start: int
    stop: int
    until: Annotated[int, SPEED] = 0

    def cut(self, size: int) -> list["FeatureShard"]:
        """The rest in shards."""
        starts = range(self.stop, self.until, size)
        return [replace(self, start=at, stop=min(at + size, self.until), until=0) for at in starts]

    def named(self, split: PreparedSplit, start: int = 0, stop: int | None = None) -> str:
        """The samples of its rows, or of some of them counted from its first, in words."""
        whose = split.text_sample if self.stream == "text" else split.image_sample
        return split.named(whose[self.start : self.stop][start:stop])

    @property
    def modality(self) -> str:
        return "text" if self.stream == "text" else "image"

    @property
    def file(self) -> str:
        return _file(self.split, self.stream)


@dataclass(frozen=True)
class Features:
    """A features folder, on local disk or fetched as it is read."""

    place: Path | Files

    @property
    def files(self) -> Files:
        return files_of(self.place)

    @cached_property
    def widths(self) -> dict[str, int]:
        """Feature width ``D`` of every stream."""
        return cast(dict[str, int], json.loads(self.files.path(FEATURES_FILE).read_text()))

    def load(self, split: str, stream: str) -> npt.NDArray[np.float32]:
        """``(I, D)`` float32 or, for text, ``(T, D)``."""
        return np.load(self.files.path(_file(split, stream)), allow_pickle=False)

    def nbytes(self, split: str) -> int:
        """Of all streams of a split."""
        names = (_file(split, stream) for stream in self.widths)
        return sum(self.files.array(name).nbytes for name in names if self.files.has(name))

    def map(self, split: str, stream: str) -> npt.NDArray[np.float32]:
        """The same, memory-mapped; rows are read, and fetched, when they are indexed."""
        rows: npt.NDArray[np.float32] = self.files.array(_file(split, stream))
        return rows


def _file(split: str, stream: str) -> str:
    return f"{split}_{stream}.npy"


def plan_shards(prepared: Prepared, shard_size: int | None) -> list[FeatureShard]:
    """Cut every stream of every split into shards of about equal cost; without a size only the first of each."""
    shards: list[FeatureShard] = []
    for name, count in prepared.card.counts.items():
        if not count:
            continue
        split = prepared.split(name)
        first = shard_size or _FIRST
        rows = {stream: (len(split.images(stream)), first) for stream in split.streams}
        if texts := prepared.card.texts[name]:
            rows["text"] = (texts, first * _TEXTS_PER_IMAGE)
        for stream, (total, size) in rows.items():
            if shard_size:
                shards += FeatureShard(name, stream, 0, 0, total).cut(size)
            else:
                shards.append(FeatureShard(name, stream, 0, min(size, total), total))
    return shards


def encode_shard(
    shard: FeatureShard,
    split: PreparedSplit,
    encoder: ImageEncoder | TextEncoder,
    folder: Path,
    *,
    batch_size: int,
    scratch: Path | None = None,
    progress: Progress = silent,
) -> ShardSummary:
    """Write one shard's features as ``<split>_<stream>.npy`` into ``folder``.

    Args:
        scratch: Keeps what is encoded so far, see `Steps`; a call goes on from there.
    """
    steps = Steps(scratch, progress, f"{shard.split} {shard.stream}")
    if isinstance(encoder, TextEncoder):
        with leg("model"):
            features = _encode_texts(shard, split, encoder, steps)
    else:
        features = _encode_images(shard, split, encoder, batch_size, steps)
    with leg("write"):
        np.save(folder / shard.file, features.astype(np.float32, copy=False), allow_pickle=False)
    return ShardSummary(rows=len(features), width=features.shape[1])


def merge_shards(parts: Iterable[tuple[FeatureShard, Path]], folder: Path) -> FeaturesSummary:
    """Join shard folders into a features folder."""
    by_file: dict[tuple[str, str], list[tuple[int, Path]]] = {}
    for shard, part in parts:
        by_file.setdefault((shard.file, shard.stream), []).append((shard.start, part / shard.file))
    widths: dict[str, int] = {}
    for (file, stream), pieces in by_file.items():
        joined = np.concatenate([np.load(path, allow_pickle=False) for _, path in sorted(pieces)])
        np.save(folder / file, joined, allow_pickle=False)
        widths[stream] = int(joined.shape[1])
    (folder / FEATURES_FILE).write_text(json.dumps(widths, sort_keys=True) + "\n")
    return FeaturesSummary(**widths)


def _encode_texts(
    shard: FeatureShard, split: PreparedSplit, encoder: TextEncoder, steps: Steps
) -> npt.NDArray[np.float32]:
    next_start = (shard.start // TEXTS_TOGETHER + 1) * TEXTS_TOGETHER
    starts = [shard.start, *range(next_start, shard.stop, TEXTS_TOGETHER), shard.stop]
    parts = []
    for start, stop in pairwise(starts):
        own = steps.part(start - shard.start, stop - start, shard.stop - shard.start)
        with at(partial(shard.named, split, start - shard.start, stop - shard.start)):
            parts.append(encoder.encode(split.texts[start:stop], steps=own).numpy())
    return np.concatenate(parts)


def _encode_images(
    shard: FeatureShard, split: PreparedSplit, encoder: ImageEncoder, batch_size: int, steps: Steps
) -> npt.NDArray[np.float32]:
    images = split.images(shard.stream)

    def encoded(start: int, stop: int) -> npt.NDArray[np.float32]:
        with at(partial(shard.named, split, start, stop)):
            with leg("read"):
                batch = encoder.resize(
                    np.array(images[shard.start + start : shard.start + stop])
                )  # torch cannot share read-only memory
            with leg("model"):
                return encoder.encode(batch).cpu().numpy()

    return steps.rows(shard.stop - shard.start, encoder.width, batch_size, encoded)

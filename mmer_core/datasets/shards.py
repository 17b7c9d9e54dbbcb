"""A split prepared shard by shard, so that a killed ingestion can be resumed.

For each split the scratch folder holds full-size arrays, and a small record for every shard whose rows are all in
them. A record is written after its rows were flushed to disk, and renamed into place once it is complete.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmer_core.datasets.crops import Crop, Rejected
from mmer_core.datasets.raw import RawDataset
from mmer_core.datasets.rows import RowWriter
from mmer_core.durable import sync

Outcome = tuple[int, Crop | Rejected]
"""A row of the split, and the result for its sample."""


def plan(raw: RawDataset, sides: Mapping[str, int], photos: int) -> str:
    """A name for the work, so that shards of another dataset, size or protocol are never reused.

    It does not cover the contents of photos: a scratch folder belongs to one state of the files.
    """
    digest = hashlib.sha256(repr((raw.protocol, sorted(sides.items()), photos)).encode())
    for sample in raw.samples:
        what = repr((sample.split, sample.id, sample.image and sample.image.name, sample.box))
        digest.update(what.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


class SplitWriter:
    """The arrays of one split, and the record of its finished shards.

    Args:
        folder: Scratch folder of one `plan`.
        rows: Samples of the split.
        shards: Number of shards of the split.
        sides: Side of the square pictures in pixels, by stream.
    """

    def __init__(self, folder: Path, split: str, rows: int, shards: int, sides: Mapping[str, int]) -> None:
        self.streams = {
            name: RowWriter(folder / f"{split}_{name}_arr.npy", rows, side) for name, side in sides.items()
        }
        self._folder = folder
        self._split = split
        self._shards = shards

    def __enter__(self) -> "SplitWriter":
        if not self._sound():
            for left in self._folder.glob(f"{self._split}[-_]*"):
                left.unlink()
        for stream in self.streams.values():
            stream.open()
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self.streams.values():
            stream.close()

    def recorded(self, shard: int) -> list[Outcome] | None:
        """The outcomes of a finished shard; None if it still has to be done."""
        try:
            rows = json.loads(self._record(shard).read_text())
        except FileNotFoundError:
            return None
        return [(row, _result(*fields)) for row, *fields in rows]

    def record(self, shard: int, outcomes: Sequence[Outcome]) -> None:
        """Record a shard whose rows are all written, so that it survives a crash."""
        for stream in self.streams.values():
            stream.sync()
        place = self._record(shard)
        temporary = place.with_suffix(".tmp")
        with temporary.open("w") as file:
            file.write(json.dumps([(row, *_fields(result)) for row, result in outcomes]))
            file.flush()
            sync(file.fileno())
        temporary.replace(place)

    def finish(self, keep: list[int], folder: Path) -> None:
        """Write arrays of only these rows, in this order, into a folder; without rows, no file.

        The scratch folder keeps its arrays, because the target is emptied if the process dies before publishing.
        """
        for stream in self.streams.values():
            stream.finish(keep)
            if keep:
                _link(stream.path, folder / stream.path.name)

    def _sound(self) -> bool:
        """Whether existing records, if any, belong to existing arrays."""
        streams = self.streams.values()
        finished = any(stream.path.exists() for stream in streams)
        recorded = all(self._record(shard).exists() for shard in range(self._shards))
        return all(stream.begun for stream in streams) and (recorded or not finished)

    def _record(self, shard: int) -> Path:
        return self._folder / f"{self._split}-{shard:05d}.json"


def _fields(result: Crop | Rejected) -> tuple[Any, ...]:
    if isinstance(result, Crop):
        return result.size, result.box, result.pixels
    return result.reason, result.detail


def _result(*fields: Any) -> Crop | Rejected:
    if len(fields) == 2:
        return Rejected(*fields)
    size, box, pixels = map(tuple, fields)
    return Crop(size, box, pixels)


def _link(source: Path, target: Path) -> None:
    """Hard-link the file, or copy it if the target is on another file system."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

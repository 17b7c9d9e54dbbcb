"""Samples to prepared arrays: decode once, clamp, crop, resize, write (layout: `mmer_core.datasets.prepared`)."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import TypeVar

from mmer_core.config import IngestConfig
from mmer_core.datasets import tables
from mmer_core.datasets.crops import Crop, Rejected, crop_person
from mmer_core.datasets.flickr8k import orphans
from mmer_core.datasets.photos import Photo, photo_reader
from mmer_core.datasets.pixels import UnreadableImageError
from mmer_core.datasets.prepared import DatasetCard
from mmer_core.datasets.raw import RawDataset, without_captions
from mmer_core.datasets.rows import RowWriter
from mmer_core.datasets.sample import Quarantined, Sample
from mmer_core.datasets.vocabulary import write_vocabulary
from mmer_core.errors import DatasetError
from mmer_core.progress import Progress, silent
from mmer_core.taxonomy import SPLITS

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def prepare(
    raw: RawDataset,
    config: IngestConfig,
    folder: Path,
    *,
    workers: int,
    synthetic: bool,
    progress: Progress = silent,
) -> DatasetCard:
    """Write a prepared dataset.

    Each photo is decoded once, however many people it shows. Memory holds the photos in flight (a few per
    worker); arrays are written through memory maps. The bytes written do not depend on ``workers``.

    Args:
        folder: Receives the files; ``dataset.json`` comes last, so a folder without it is unfinished.
        workers: Threads that decode and resize.
        synthetic: Whether mmer drew the photos itself; the dataset's name then says so.

    Raises:
        ConfigError: The protocol is ``mat2py`` and OpenCV is not installed.
        DatasetError: Nothing is left to prepare, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _prepare(raw, config, folder, workers, synthetic, progress)
    except OSError as error:
        raise DatasetError(f"cannot write {error.filename or folder}: {error.strerror or error}") from error


def _prepare(
    raw: RawDataset, config: IngestConfig, folder: Path, workers: int, synthetic: bool, progress: Progress
) -> DatasetCard:
    quarantined = list(raw.quarantined)
    kept: dict[str, list[Sample]] = {}
    reader = photo_reader(raw.protocol)
    total = len({(sample.split, sample.image) for sample in raw.samples})
    done = 0
    for split in SPLITS:
        samples = [sample for sample in raw.samples if sample.split == split]
        writers = _writers(raw, config, folder, split, len(samples))
        crops: dict[int, Crop] = {}
        read = partial(_read_photo, reader=reader, writers=writers, protocol=raw.protocol)
        for outcomes in _in_order(read, _photos(samples), workers):
            done += 1
            progress(done, total, split)
            for row, result in outcomes:
                if isinstance(result, Rejected):
                    quarantined += _reject(raw, samples[row], result)
                else:
                    crops[row] = result
        order = sorted(crops)
        for writer in writers.values():
            writer.finish(order)
        kept[split] = [samples[row] for row in order]
        if order:
            tables.write_split(folder, split, raw, kept[split], [crops[row] for row in order])
    if not any(kept.values()):
        reasons = Counter(row.reason for row in without_captions(quarantined))
        listed = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        raise DatasetError(
            f"{raw.name} has no usable sample: its {raw.inputs} inputs are quarantined, {listed}"
        )
    if raw.task == "retrieval":
        write_vocabulary(folder, kept, config.vocabulary_least)
    tables.write_quarantine(folder, quarantined)
    card = tables.card(raw, kept, quarantined, synthetic=synthetic)
    card.write(folder)
    return card


def _writers(
    raw: RawDataset, config: IngestConfig, folder: Path, split: str, rows: int
) -> dict[str, RowWriter]:
    sides = {"context": config.context_size, "body": config.body_size}
    return {name: RowWriter(folder / f"{split}_{name}_arr.npy", rows, sides[name]) for name in raw.streams}


def _photos(samples: list[Sample]) -> Iterator[list[tuple[int, Sample]]]:
    """Samples of one photo together, with their rows; photos in order of their first sample."""
    first: dict[Path, int] = {}
    for row, sample in enumerate(samples):
        first.setdefault(sample.image, row)
    ordered = sorted(enumerate(samples), key=lambda item: (first[item[1].image], item[0]))
    for _, group in groupby(ordered, key=lambda item: item[1].image):
        yield list(group)


def _read_photo(
    photo: list[tuple[int, Sample]],
    reader: Callable[[Path], Photo],
    writers: dict[str, RowWriter],
    protocol: str,
) -> list[tuple[int, Crop | Rejected]]:
    """Decode one photo and write the rows of everybody in it."""
    try:
        image = reader(photo[0][1].image)
    except UnreadableImageError as error:
        broken = Rejected("unreadable_image", str(error))
        return [(row, broken) for row, _ in photo]
    context = image.square(writers["context"].side)
    outcomes: list[tuple[int, Crop | Rejected]] = []
    for row, sample in photo:
        result = crop_person(sample, image.size, protocol)
        if isinstance(result, Crop):
            writers["context"].write(row, context)
            if "body" in writers:
                writers["body"].write(row, image.square(writers["body"].side, result.pixels))
        outcomes.append((row, result))
    return outcomes


def _reject(raw: RawDataset, sample: Sample, why: Rejected) -> list[Quarantined]:
    rows = [Quarantined(sample.split, sample.id, why.reason, why.detail)]
    if raw.task == "retrieval":
        rows += orphans(sample.split, sample.id, len(sample.texts), why.reason)
    return rows


def _in_order(work: Callable[[_Item], _Result], items: Iterable[_Item], workers: int) -> Iterator[_Result]:
    """Results in the order of the items, with a bounded number in flight."""
    remaining = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        flying: list[Future[_Result]] = [pool.submit(work, item) for item in islice(remaining, 4 * workers)]
        try:
            while flying:
                result = flying.pop(0).result()
                flying += [pool.submit(work, item) for item in islice(remaining, 1)]
                yield result
        finally:
            for future in flying:
                future.cancel()

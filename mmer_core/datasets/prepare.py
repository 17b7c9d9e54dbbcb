"""Samples to prepared arrays: decode once, clamp, crop, resize, write (layout: `mmer_core.datasets.prepared`)."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from mmer_core.confined.pictures import AT_ONCE, UnreadableImageError
from mmer_core.confined.squares import Wanted
from mmer_core.datasets import tables
from mmer_core.datasets.config import IngestConfig
from mmer_core.datasets.crops import Crop, Rejected, box_to_read, crop_person
from mmer_core.datasets.notebook_layout import write_layout
from mmer_core.datasets.packed import pack, packed_name
from mmer_core.datasets.photos import PhotoReader, Squarable, in_one_thread, one_thread_each, photo_reader
from mmer_core.datasets.prepared import CARD_FILE, DatasetSummary
from mmer_core.datasets.protocols import NOTEBOOK
from mmer_core.datasets.raw import WHERE, RawDataset, orphans, without_captions
from mmer_core.datasets.rows import RowWriter
from mmer_core.datasets.sample import Quarantined, Sample
from mmer_core.datasets.shards import Outcome, SplitWriter, plan
from mmer_core.datasets.vocabulary import write_vocabulary
from mmer_core.errors import DatasetError
from mmer_core.log import event
from mmer_core.progress import Progress, silent
from mmer_core.taxonomy import SPLITS
from mmer_core.usage import leg

SHARD = 256
"""Photos per shard: how much a killed ingestion may have to repeat."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_Photo = list[tuple[int, Sample]]
"""The samples that one photo shows, with their rows in the split."""


def prepare(
    raw: RawDataset,
    config: IngestConfig,
    folder: Path,
    scratch: Path,
    *,
    workers: int,
    synthetic: bool,
    progress: Progress = silent,
) -> DatasetSummary:
    """Write a prepared dataset.

    Each photo is decoded once, however many people it shows. Memory holds a few decoded photos per worker, and
    never an array of pictures. The bytes written depend neither on ``workers`` nor on earlier interrupted calls.

    Args:
        folder: Receives the files; ``dataset.json`` comes last, so a folder without it is unfinished.
        scratch: Holds the finished shards; a call resumes from those of a killed one. May be deleted afterwards,
            and must be deleted when the photos change.
        workers: Number of threads that decode and resize.
        synthetic: Whether mmer drew the photos itself; marks the dataset's name.

    Raises:
        ConfigError: The protocol is one with OpenCV, which is not installed.
        DatasetError: No sample is left, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with leg("read"):  # decoding, resizing and writing are pipelined
            outcomes = _write_arrays(raw, config, folder, scratch, workers, progress)
        return _write_tables(raw, config, folder, outcomes, synthetic)
    except OSError as error:
        raise DatasetError(f"cannot write {error.filename or folder}: {error.strerror or error}") from error


def _write_arrays(
    raw: RawDataset, config: IngestConfig, folder: Path, scratch: Path, workers: int, progress: Progress
) -> dict[str, list[Outcome]]:
    """Decode everything; outcomes by split, in the order of the photos."""
    side = {"context": config.context_size, "body": config.body_size}
    sides = {name: side[name] for name in raw.streams}
    arrays = scratch / f"arrays-{plan(raw, sides, SHARD)}"
    arrays.mkdir(parents=True, exist_ok=True)
    reader = photo_reader(raw.protocol)
    samples = raw.by_split()
    photos = {split: _photos(samples[split]) for split in SPLITS}
    total = sum(map(len, photos.values()))
    done = 0
    found: dict[str, list[Outcome]] = {}
    with (
        ExitStack() as opened,
        ThreadPoolExecutor(1) as recorder,
        one_thread_each(),
        _readers(workers) as pool,
    ):
        # All splits at once, and each shard is recorded while the next one is read: no reader waits for the disk.
        writers: dict[str, SplitWriter] = {}
        recorded: list[Future[None]] = []
        for split in SPLITS:

            def advance(count: int, split: str = split) -> None:
                nonlocal done
                done += count
                progress(done, total, split)

            shards = -(-len(photos[split]) // SHARD)
            writer = SplitWriter(arrays, split, len(samples[split]), shards, sides)
            writers[split] = opened.enter_context(writer)
            read = partial(_read_photos, reader=reader, streams=writer.streams, protocol=raw.protocol)
            in_order = partial(_in_order, pool, read, ahead=2 * workers)
            found[split] = []
            for number, outcomes, known in _do_shards(writer, photos[split], in_order, advance):
                found[split] += outcomes
                if not known:
                    recorded.append(recorder.submit(writer.record, number, outcomes))
        for future in recorded:
            future.result()
        for split, writer in writers.items():
            # Those with an image.
            keep = sorted(row for row, result in found[split] if isinstance(result, Crop))
            writer.finish(keep, folder)
            if keep and config.prepared_format == "webp":
                for stream, rows_of in writer.streams.items():
                    pack(folder / rows_of.path.name, folder / packed_name(split, stream), workers)
    return found


def _readers(workers: int) -> ThreadPoolExecutor:
    # A photo is too little work to parallelise: each reader limits torch to its own thread, where it needs torch.
    return ThreadPoolExecutor(workers, initializer=in_one_thread)


def _do_shards(
    writer: SplitWriter,
    photos: Sequence[_Photo],
    read: Callable[[Iterable[Sequence[_Photo]]], Iterator[list[list[Outcome]]]],
    advance: Callable[[int], None],
) -> Iterator[tuple[int, list[Outcome], bool]]:
    """Number and outcomes of every shard, and whether it has a record; the photos of the others are read."""
    for number, start in enumerate(range(0, len(photos), SHARD)):
        shard = photos[start : start + SHARD]
        outcomes = writer.recorded(number)
        if outcomes is not None:
            advance(len(shard))
            yield number, outcomes, True
            continue
        outcomes = []
        together = [shard[at : at + AT_ONCE] for at in range(0, len(shard), AT_ONCE)]
        for photo in chain.from_iterable(read(together)):
            outcomes += photo
            advance(1)
        yield number, outcomes, False


def _write_tables(
    raw: RawDataset,
    config: IngestConfig,
    folder: Path,
    outcomes: dict[str, list[Outcome]],
    synthetic: bool,
) -> DatasetSummary:
    """Write everything except the pictures."""
    quarantined = list(raw.quarantined)
    kept: dict[str, list[Sample]] = {}
    for split, samples in raw.by_split().items():
        crops: dict[int, Crop | None] = {row: None for row, sample in enumerate(samples) if not sample.image}
        for row, result in outcomes[split]:
            if isinstance(result, Rejected):
                quarantined += rejected(raw, samples[row], result)
            else:
                crops[row] = result
        order = sorted(crops)
        kept[split] = [samples[row] for row in order]
        if order:
            tables.write_split(folder, split, raw, kept[split], [crops[row] for row in order])
    if not any(kept.values()):
        left_out = without_captions(quarantined)
        reasons = Counter(row.reason for row in left_out)
        listed = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        first = f"; the first: {left_out[0].detail}" if left_out else ""
        raise DatasetError(
            f"{raw.name} has no usable sample: its {raw.inputs} inputs are quarantined, {listed}{first}"
        )
    if not raw.labels:
        write_vocabulary(folder, kept, config.vocabulary_least)
    tables.write_quarantine(folder, quarantined)
    for left in quarantined:
        message = f"Left out {left.id} of {left.split or 'no split'}: {left.reason}: {left.detail}"
        fields = {"dataset": raw.name, "split": left.split, "sample": left.id, "reason": left.reason}
        event(message, level=logging.DEBUG, **fields)
    for note in raw.notes:
        fields = {"dataset": raw.name, "split": note.split, "sample": note.id, "reason": note.reason}
        event(f"{note.reason}: {note.detail}", level=logging.INFO, **fields)
    card = tables.card(raw, kept, quarantined, synthetic=synthetic)
    if raw.protocol == NOTEBOOK:
        write_layout(folder, card)
    card.write(folder / CARD_FILE)
    return card


def _photos(samples: list[Sample]) -> list[_Photo]:
    """Group samples by photo, with their rows; photos in the order of their first sample."""
    by_photo: dict[Path, _Photo] = {}
    for row, sample in enumerate(samples):
        if sample.image:
            by_photo.setdefault(sample.image, []).append((row, sample))
    return list(by_photo.values())


def _read_photos(
    photos: Sequence[_Photo], reader: PhotoReader, streams: dict[str, RowWriter], protocol: str
) -> list[list[Outcome]]:
    """Decode some photos and write the rows of every sample in them."""
    following = iter(photos)

    def write(image: Squarable | UnreadableImageError) -> list[Outcome]:
        return _write_photo(next(following), image, streams, protocol)

    paths = [sample.image for ((_, sample), *_) in photos if sample.image]
    return reader.squared(paths, [_wanted(photo, streams, protocol) for photo in photos], write)


def _wanted(photo: _Photo, streams: dict[str, RowWriter], protocol: str) -> list[Wanted]:
    """The squares that `_write_photo` asks for."""
    wanted: list[Wanted] = [(streams["context"].side, None)]
    if "body" in streams:
        wanted += [(streams["body"].side, box_to_read(sample, protocol)) for _, sample in photo]
    return wanted


def _write_photo(
    photo: _Photo, image: Squarable | UnreadableImageError, streams: dict[str, RowWriter], protocol: str
) -> list[Outcome]:
    if isinstance(image, UnreadableImageError):
        broken = Rejected("unreadable_image", str(image))
        return [(row, broken) for row, _ in photo]
    context = image.square(streams["context"].side)
    outcomes: list[Outcome] = []
    for row, sample in photo:
        result = crop_person(sample, image.size, protocol)
        if isinstance(result, Crop):
            streams["context"].write(row, context)
            if "body" in streams:
                streams["body"].write(row, image.square(streams["body"].side, result.pixels))
        outcomes.append((row, result))
    return outcomes


def rejected(raw: RawDataset, sample: Sample, why: Rejected) -> list[Quarantined]:
    """Quarantine rows for a sample whose photo or box cannot be used, and for its captions."""
    where = f"{sample.metadata[WHERE]}: " if WHERE in sample.metadata else ""
    rows = [Quarantined(sample.split, sample.id, why.reason, where + why.detail)]
    if not raw.labels:
        rows += orphans(sample.split, sample.id, len(sample.texts), why.reason)
    return rows


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[_Item], _Result], items: Iterable[_Item], ahead: int
) -> Iterator[_Result]:
    """Results in the order of the items, with a bounded number in flight."""
    remaining = iter(items)
    flying = deque(pool.submit(work, item) for item in islice(remaining, ahead))
    try:
        while flying:
            result = flying.popleft().result()
            flying.extend(pool.submit(work, item) for item in islice(remaining, 1))
            yield result
    finally:
        for future in flying:
            future.cancel()

"""All faults of a dataset, found without preparing it."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from mmer_core.confined.pictures import AT_ONCE, UnreadableImageError
from mmer_core.datasets.cells import printable
from mmer_core.datasets.config import IngestConfig
from mmer_core.datasets.crops import Rejected, crop_person
from mmer_core.datasets.encodings import encoding_of
from mmer_core.datasets.ingest import read_raw
from mmer_core.datasets.leakage import (
    Fingerprint,
    SampleText,
    compare_splits,
    fingerprint_image,
    shared_groups,
    shared_texts,
)
from mmer_core.datasets.photos import Photo, PhotoReader, one_thread_each, photo_reader
from mmer_core.datasets.prepare import rejected
from mmer_core.datasets.raw import GROUP, RawDataset, without_captions
from mmer_core.datasets.sample import Quarantined, Sample
from mmer_core.errors import DatasetError
from mmer_core.progress import Progress, silent
from mmer_core.taxonomy import SPLITS

UNUSABLE = "unusable"
"""Reason of a fault that makes the whole dataset unreadable."""
NEEDED = ("train", "val")
LEAKAGE = "leakage"
_PRINT_SIDE = 224
_TEXTUAL = (".csv", ".jsonl")


@dataclass(frozen=True)
class CheckResult:
    """Result of a check: ``sound`` samples of ``inputs``, and every fault in the order of the dataset.

    Attributes:
        raw: The dataset as it was read; None if it could not be.
        samples: The sound ones.
        encodings: Number of text files by their encoding, where the format has text files of its users' making.
    """

    inputs: int
    sound: int
    faults: list[Quarantined]
    raw: RawDataset | None = None
    samples: list[Sample] = field(default_factory=list)
    encodings: Counter[str] = field(default_factory=Counter)


def check(config: IngestConfig, scratch: Path, *, workers: int, progress: Progress = silent) -> CheckResult:
    """Read a dataset, decode all of its images and collect every fault instead of stopping at the first.

    Args:
        scratch: Receives the drawn photos if ``config.root`` is None.
        workers: Number of threads that decode.
    """
    try:
        raw = read_raw(config, scratch)
    except DatasetError as error:
        further = config.format.faults(config.root) if config.root and config.root.is_dir() else ()
        reasons = dict.fromkeys([str(error), *further])
        return CheckResult(0, 0, [Quarantined("", str(config.root), UNUSABLE, one) for one in reasons])
    broken, prints = looked_at(raw, workers=workers, progress=progress)
    refused = {(fault.split, fault.id) for fault in broken}
    left = [sample for sample in raw.samples if (sample.split, printable(sample.id)) not in refused]
    splits = {sample.split for sample in left}
    empty = [
        Quarantined(split, "", "empty_split", f"no sound sample is in {split}, and training needs one")
        for split in NEEDED
        if split not in splits
    ]
    faults = [*raw.quarantined, *broken, *empty, *raw.notes, *_leaks(raw, prints)]
    sound = len(raw.samples) - len(without_captions(broken))
    return CheckResult(raw.inputs, sound, faults, raw, left, _encodings(raw, config.root))


def _encodings(raw: RawDataset, root: Path | None) -> Counter[str]:
    """Of the files that the reader counted, or of the one file that is the dataset."""
    if raw.encodings or root is None or not root.is_file() or root.suffix.lower() not in _TEXTUAL:
        return Counter(raw.encodings)
    return Counter({encoding_of(root.read_bytes()) or "unknown": 1})


def looked_at(
    raw: RawDataset, *, workers: int, progress: Progress = silent
) -> tuple[list[Quarantined], dict[str, list[tuple[str, Fingerprint]]]]:
    """Decode every photo: the faults of photos and boxes, and by split each sample's id with its photo's print.

    Args:
        workers: Number of threads that decode.
    """
    by_photo: dict[Path, list[Sample]] = {}
    for sample in raw.samples:
        if sample.image:
            by_photo.setdefault(sample.image, []).append(sample)
    look = partial(_look, raw, reader=photo_reader(raw.protocol))
    broken: list[Quarantined] = []
    prints: dict[str, list[tuple[str, Fingerprint]]] = {split: [] for split in SPLITS}
    photos = list(by_photo.values())
    together = [photos[at : at + AT_ONCE] for at in range(0, len(photos), AT_ONCE)]
    with one_thread_each(), ThreadPoolExecutor(workers) as pool:
        looks = chain.from_iterable(pool.map(look, together))
        for done, (samples, (faults, seen)) in enumerate(zip(photos, looks, strict=True), 1):
            broken += faults
            if seen is not None:
                for sample in samples:
                    prints[sample.split].append((sample.id, seen))
            progress(done, len(photos))
    return broken, prints


def _look(
    raw: RawDataset, photos: Sequence[list[Sample]], reader: PhotoReader
) -> list[tuple[list[Quarantined], Fingerprint | None]]:
    """For each photo, its faults and those of the boxes of the samples that share it, and the photo's print."""
    following = iter(photos)

    def look(photo: Photo | UnreadableImageError) -> tuple[list[Quarantined], Fingerprint | None]:
        return _look_at(raw, next(following), photo)

    return reader.each([first.image for first, *_ in photos if first.image], look)


def _look_at(
    raw: RawDataset, samples: list[Sample], photo: Photo | UnreadableImageError
) -> tuple[list[Quarantined], Fingerprint | None]:
    if isinstance(photo, UnreadableImageError):
        broken = Rejected("unreadable_image", str(photo))
        return [fault for sample in samples for fault in rejected(raw, sample, broken)], None
    places = [(sample, crop_person(sample, photo.size, raw.protocol)) for sample in samples]
    found = [rejected(raw, sample, place) for sample, place in places if isinstance(place, Rejected)]
    faults = list(chain.from_iterable(found))
    return faults, fingerprint_image(photo.square(_PRINT_SIDE))


def _leaks(raw: RawDataset, prints: dict[str, list[tuple[str, Fingerprint]]]) -> list[Quarantined]:
    """Samples that occur in two splits; apart from that they are sound."""
    groups: dict[str, list[tuple[str, str]]] = {split: [] for split in SPLITS}
    texts: dict[str, list[SampleText]] = {split: [] for split in SPLITS}
    for sample in raw.samples:
        groups[sample.split].append((sample.id, sample.metadata.get(GROUP, "")))
        texts[sample.split] += [SampleText(sample.id, one.text, bool(sample.image)) for one in sample.texts]
    return [
        Quarantined(leak.split, leak.id, LEAKAGE, str(leak))
        for leak in compare_splits(prints) + shared_texts(texts) + shared_groups(groups)
    ]

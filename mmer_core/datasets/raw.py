"""The result of every reader: samples with their texts, and everything that was dropped."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mmer_core.datasets.protocols import NOTEBOOK
from mmer_core.datasets.sample import Quarantined, Sample
from mmer_core.taxonomy import SPLITS

COLUMNS = (
    "Index", "Folder", "Filename", "Image Size", "BBox", "Categorical_Labels", "Continuous_Labels",
    "Gender", "Age", "Id",
)  # fmt: skip
"""Column order of ``<split>.csv``; a dataset without labels or boxes has fewer columns, other metadata follows."""
PEOPLE = ("Gender", "Age")
"""Columns about a person."""
GROUP = "Group"
"""Column of ``<split>.csv`` with the group (a person, an album), which must not occur in two splits."""
WHERE = "Manifest_Row"
"""Column of ``<split>.csv`` with a sample's place in the manifest."""
CAPTION_PREFIX = "caption_"
"""Prefix of reasons that concern one caption; all other reasons concern a whole sample (a person or a photo)."""
ORPHAN = "caption_photo_quarantined"
"""Reason of a sound caption whose photo was quarantined."""
CAPTION_NOT_IN_TRAIN = "caption_not_in_train"
"""Reason of a labelled sample's text where no sample of train has one."""
NOT_UTF8, SIMILAR_LABELS, RESERVED_COLUMN = "not_utf8", "similar_labels", "reserved_column"
IMAGE_NOT_IN_TRAIN = "image_not_in_train"
"""Reasons of notes."""


@dataclass(frozen=True)
class RawDataset:
    """A dataset as found on disk, before any pixel is decoded.

    Attributes:
        task: The kind of task, see `mmer_core.task_kinds`.
        labels: The dataset's label set in order; empty if its targets are the texts.
        quarantined: Samples that the reader refused, and single captions (reasons prefixed ``caption_``).
        inputs: Samples found: ``len(samples)`` plus the quarantined ones, not counting captions.
        protocol: Name of the protocol for boxes or splits.
        captions: Captions found in caption files; for a captioned dataset the texts of ``samples`` plus
            the rows with a ``caption_`` reason.
        notes: Inputs that were kept but are probably mistakes; not part of any count.
        encodings: Number of text files by their encoding, where each sample has its own; that of files that are not UTF-8 is
            the likeliest.
    """

    name: str
    task: str
    labels: tuple[str, ...]
    samples: list[Sample]
    quarantined: list[Quarantined]
    inputs: int
    protocol: str
    captions: int = 0
    notes: tuple[Quarantined, ...] = ()
    encodings: Mapping[str, int] = field(default_factory=dict)

    def by_split(self) -> dict[str, list[Sample]]:
        """Samples by split in their order; a sample's index there is its row."""
        splits: dict[str, list[Sample]] = {split: [] for split in SPLITS}
        for sample in self.samples:
            splits[sample.split].append(sample)
        return splits

    @property
    def streams(self) -> tuple[str, ...]:
        """Image streams to prepare: none if no sample has an image, ``body`` only if one has a box or the notebooks had it."""
        if not any(sample.image for sample in self.samples):
            return ()
        boxes = self.protocol == NOTEBOOK or any(sample.box for sample in self.samples)
        return ("context", "body") if boxes else ("context",)

    @property
    def rated(self) -> bool:
        """Whether the samples have valence, arousal and dominance."""
        return all(sample.vad is not None for sample in self.samples)


def without_captions(rows: Iterable[Quarantined]) -> list[Quarantined]:
    """Only the rows about a whole sample."""
    return [row for row in rows if not row.reason.startswith(CAPTION_PREFIX)]


def orphans(split: str, photo: str, count: int, reason: str) -> list[Quarantined]:
    """One quarantine row for each sound caption of a photo that was itself quarantined for this reason."""
    return [
        Quarantined(split, f"{photo}#{number}", ORPHAN, f"its photo: {reason}") for number in range(count)
    ]

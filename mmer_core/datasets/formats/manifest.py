"""Any dataset of images or texts with labels, ratings or boxes, listed in one file (see ``docs/manifest.md``)."""

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mmer_core.confined.picture_limits import PHOTOS
from mmer_core.datasets.fingerprint import fingerprint
from mmer_core.datasets.formats.base import Format
from mmer_core.datasets.image_places import ImagePlaces
from mmer_core.datasets.label_names import KnownLabels
from mmer_core.datasets.manifest_rows import BOX, Declaration, Row, read_rows, sidecar
from mmer_core.datasets.manifest_splits import (
    generated_splits,
    given_split,
    group_of,
    image_digests,
    image_of,
)
from mmer_core.datasets.raw import (
    CAPTION_NOT_IN_TRAIN,
    COLUMNS,
    GROUP,
    IMAGE_NOT_IN_TRAIN,
    NOT_UTF8,
    PEOPLE,
    RESERVED_COLUMN,
    SIMILAR_LABELS,
    WHERE,
    RawDataset,
    orphans,
    without_captions,
)
from mmer_core.datasets.sample import Box, Quarantined, Sample, Text
from mmer_core.datasets.values import is_given, number_of
from mmer_core.errors import DatasetError
from mmer_core.taxonomy import SPLITS, VAD, VAD_RANGE
from mmer_core.text_lines import DAMAGED

RESERVED = {*COLUMNS, WHERE} - {*PEOPLE}
"""Column names that a manifest cannot add to ``<split>.csv``."""

_NO_LABELS = (
    "there is no sound row of train, from which labels are taken: mark rows as train in the column split, or declare the "
    'labels in a first line such as # {"labels": ["happy", "sad"]}'
)

Problem = tuple[str, str]


class Manifest(Format):
    """One file that lists the dataset; images are below its folder."""

    name = "manifest"
    summary = "any dataset that a CSV, JSONL or Parquet file lists"

    def unpacked(self, root: Path, scratch: Path) -> Path:
        return root

    def read(self, root: Path) -> RawDataset:
        return read_manifest(root)

    def identity(self, root: Path) -> str:
        return manifest_identity(root)


def read_manifest(path: Path) -> RawDataset:
    """Read a manifest: as an emotion dataset if it has labels, otherwise as a captioned one.

    Images are resolved below the manifest's own folder. Every row is either kept, or quarantined with its line and
    all of its faults. Ratings are mapped from their declared range to 1..10.

    Raises:
        DatasetError: The manifest as a whole cannot be used.
    """
    rows, declaration = read_rows(path)
    if not any(row.labels is not None or row.texts or row.problem for row in rows):
        raise DatasetError(f"manifest {path} has neither labels nor texts: add a column labels or text")
    if not any("image" in row.fields for row in rows):
        named = {name for row in rows for name, cell in row.metadata.items() if cell.lower().endswith(PHOTOS)}
        if named:
            raise DatasetError(
                f"manifest {path} lacks image, and its column {min(named)} names pictures: call that image"
            )
    return read_listed(name_of(path), path.parent, rows, declaration, "manifest")


def name_of(path: Path) -> str:
    """The name of a manifest's dataset: of ``posts.csv`` and ``posts.manifest.csv`` posts, of ``posts/manifest.csv`` too."""
    name = path.stem.removesuffix(".manifest")
    return path.absolute().parent.name or name if name == "manifest" else name


def read_listed(
    name: str, base: Path, rows: list[Row], declaration: Declaration, provenance: str = "dataset"
) -> RawDataset:
    """A dataset from rows as a manifest has them, by the same rules; formats that list their samples end here.

    Args:
        base: Folder below which the images are.
        rows: At least one, see `mmer_core.datasets.manifest_rows.checked_row`.
        provenance: Of the texts.
    """
    labelled = any(row.labels is not None for row in rows)
    generated = not any("split" in row.fields for row in rows)
    places = ImagePlaces(base)
    splits = generated_splits(places, rows) if generated else [given_split(row) for row in rows]
    reader = _Reader(places, rows, splits, declaration, provenance, labelled=labelled)
    reader.drop_unseen_in_train()
    source = "labels declared" if declaration.labels else "labels from train"
    protocol = ("splits generated" if generated else "splits given") + (f", {source}" if labelled else "")
    texts_out = len(reader.quarantined) - len(without_captions(reader.quarantined))
    return RawDataset(
        name,
        ("emotion" if declaration.multi_label else "classification") if labelled else "retrieval",
        reader.labels,
        reader.samples,
        reader.quarantined,
        len(rows),
        protocol,
        sum(len(sample.texts) for sample in reader.samples) + texts_out,
        tuple(reader.notes),
    )


def manifest_identity(path: Path) -> str:
    """SHA-256 over the manifest, its sidecar, and the bytes of every image it names; and over a mark where labelled texts
    have no image, which earlier versions of mmer left out.

    Raises:
        DatasetError: The manifest cannot be read.
    """
    rows, _ = read_rows(path)
    total = hashlib.sha256(fingerprint(path).encode())
    if os.path.isfile(sidecar(path)):
        total.update(fingerprint(sidecar(path)).encode())
    for name, digest in sorted(image_digests(ImagePlaces(path.parent), rows).items()):
        total.update(f"{len(name.encode())}:{name}".encode() + (digest or b"missing"))
    if any(row.texts and row.labels is not None and not image_of(row) for row in rows):
        total.update(b"texts without images")
    return total.hexdigest()


class _Reader:
    """Collects samples and faults, row by row."""

    def __init__(
        self,
        places: ImagePlaces,
        rows: list[Row],
        splits: list[str],
        declaration: Declaration,
        provenance: str,
        *,
        labelled: bool,
    ) -> None:
        self.places, self.declaration, self.labelled = places, declaration, labelled
        self.provenance = provenance
        self.rated = labelled and any(name in row.fields for row in rows for name in VAD)
        self.places_of_ids: dict[str, str] = {}
        # The label set comes from rows without these problems, so they are found first.
        self.problems = [list(self._problems(row, split)) for row, split in zip(rows, splits, strict=True)]
        self.labels = (declaration.labels or self._labels_of_train(rows, splits)) if labelled else ()
        self.known = KnownLabels(self.labels, declaration.separator)
        alike = [] if declaration.labels else self.known.alike()
        self.notes = [Quarantined("", "", SIMILAR_LABELS, detail) for detail in alike]
        self.notes += _reserved(rows)
        self.samples: list[Sample] = []
        self.quarantined: list[Quarantined] = []
        for row, split, problems in zip(rows, splits, self.problems, strict=True):
            self._read(row, split, [*problems, *self._unknown_labels(row, split)])

    def _read(self, row: Row, split: str, problems: list[Problem]) -> None:
        identity = row.fields.get("id", "")
        texts = [text for text in row.texts if is_given(text)]
        if len(texts) < len(row.texts):
            empty = Quarantined(split, identity, "caption_empty", f"{row.where}: an empty text")
            self.quarantined += [empty] * (len(row.texts) - len(texts))
        if problems:
            detail = f"{row.where}: " + "; ".join(detail for _, detail in problems)
            self.quarantined.append(Quarantined(split, identity or row.where, problems[0][0], detail))
            self.quarantined += orphans(split, identity, len(texts), problems[0][0])
            return
        image = self.places.find(image_of(row)).path  # "" for a labelled text without one
        if row.damaged:
            detail = f"{row.where}: U+FFFD is in place of {DAMAGED}"
            self.notes.append(Quarantined(split, identity, NOT_UTF8, detail))
        metadata = {name: value for name, value in row.metadata.items() if name not in RESERVED}
        self.samples.append(
            Sample(
                id=identity,
                split=split,
                image=self.places.base / image if image else None,
                box=_box(row) if self.labelled else None,
                texts=tuple(Text(text, self.provenance) for text in texts),
                labels=tuple(self._named(row)) if self.labelled else None,
                vad=self._vad(row) if self.rated else None,
                metadata=metadata
                | _group_column(row)
                | ({"Filename": image} if image else {})
                | {WHERE: row.where},
            )
        )

    def drop_unseen_in_train(self) -> None:
        """Drop texts if no training sample has one, and images likewise: what no training sample has cannot be learnt.
        Samples of which nothing is left are quarantined."""
        train = [sample for sample in self.samples if sample.split == "train"]
        if not self.labelled:
            return
        if not any(sample.texts for sample in train):
            for place, sample in enumerate(self.samples):
                detail = f"{sample.metadata[WHERE]}: no sample of train has a text"
                out = Quarantined(sample.split, sample.id, CAPTION_NOT_IN_TRAIN, detail)
                self.quarantined += [out] * len(sample.texts)
                self.samples[place] = replace(sample, texts=())
        if train and not any(sample.image for sample in train):
            for place, sample in enumerate(self.samples):
                if sample.image:
                    detail = f"{sample.metadata[WHERE]}: its image is left out, as no sample of train has one"
                    self.notes.append(Quarantined(sample.split, sample.id, IMAGE_NOT_IN_TRAIN, detail))
                    metadata = {name: cell for name, cell in sample.metadata.items() if name != "Filename"}
                    self.samples[place] = replace(sample, image=None, box=None, metadata=metadata)
        for sample in self.samples:
            if not (sample.image or sample.texts):
                detail = f"{sample.metadata[WHERE]}: it has nothing that a sample of train has"
                self.quarantined.append(Quarantined(sample.split, sample.id, "nothing_in_train", detail))
        self.samples = [sample for sample in self.samples if sample.image or sample.texts]

    def _labels_of_train(self, rows: list[Row], splits: list[str]) -> tuple[str, ...]:
        found = zip(rows, splits, self.problems, strict=True)
        kept = (self._named(row) for row, split, problems in found if split == "train" and not problems)
        return tuple(sorted({label for labels in kept for label in labels}))

    def _problems(self, row: Row, split: str) -> Iterator[Problem]:
        """All problems of a row, except unknown labels."""
        if row.problem:
            yield "malformed_row", row.problem
            return
        if not (identity := row.fields.get("id", "")):
            yield "no_id", "no id"
        elif (first := self.places_of_ids.setdefault(identity, row.where)) != row.where:
            yield "duplicate_id", f"id {identity!r} occurs in {first} already"
        if split not in SPLITS:
            yield "no_split", f"split {split!r} is none of {', '.join(SPLITS)}"
        place = self.places.find(image_of(row))
        text = any(map(is_given, row.texts))
        if place.reason == "no_image" and self.labelled:
            if not text:
                yield place.reason, "neither an image nor a text"
        elif place.fault:
            needs = ", and a captioned picture needs one" if place.reason == "no_image" and text else ""
            yield place.reason, place.fault + needs
        if not self.labelled:
            if not text:
                yield "no_caption", "no text"
            return
        yield from self._label_problems(row)
        yield from self._rating_problems(row)
        yield from _box_problems(row)

    def _label_problems(self, row: Row) -> Iterator[Problem]:
        named = self._named(row)
        if not named:
            yield "no_label", "no label"
        if len(named) > 1 and not self.declaration.multi_label:
            yield "several_labels", f"{len(named)} labels in a single-label dataset"

    def _unknown_labels(self, row: Row, split: str) -> Iterator[Problem]:
        declared = bool(self.declaration.labels)
        # Labels of train define the set: they are known in a kept row, and not the problem of a dropped one.
        if not self.labelled or row.problem or (split == "train" and not declared):
            return
        named = self._named(row)
        if named and not self.labels:
            yield "unknown_label", _NO_LABELS
        elif unknown := self.known.unknown(
            named, "the declared labels" if declared else "the labels of train"
        ):
            yield "unknown_label", unknown

    def _rating_problems(self, row: Row) -> Iterator[Problem]:
        if not self.rated:
            return
        low, high = self.declaration.rating_range
        for name in VAD:
            value = number_of(row.fields.get(name))
            if not math.isfinite(value):
                yield "vad_nan", f"{name} is {row.fields.get(name, 'absent')}, not a number"
            elif not low <= value <= high:
                yield "vad_range", f"{name} {value:g} is not in {low:g}..{high:g}"

    def _vad(self, row: Row) -> tuple[float, float, float]:
        low, high = self.declaration.rating_range
        first, last = VAD_RANGE
        valence, arousal, dominance = (
            first + (last - first) * (number_of(row.fields[name]) - low) / (high - low) for name in VAD
        )
        return valence, arousal, dominance

    def _named(self, row: Row) -> list[str]:
        """The row's labels, without repeats: verbatim, except for blanks around labels that share a cell."""
        parts: Sequence[str] = row.labels or ()
        if isinstance(parts, str):
            joined = parts.split(self.declaration.separator)
            parts = list(filter(None, (part.strip() for part in joined))) if len(joined) > 1 else joined
        return list(dict.fromkeys(parts))


def _reserved(rows: list[Row]) -> list[Quarantined]:
    """A note for every column that is dropped because mmer writes a column of that name to ``<split>.csv``."""
    names = dict.fromkeys(name for row in rows for name in row.metadata if name in RESERVED)
    return [
        Quarantined(
            "",
            "",
            RESERVED_COLUMN,
            f"the column {name!r} is not kept, as mmer has its own: give it another name",
        )
        for name in names
    ]


def _group_column(row: Row) -> dict[str, str]:
    return {GROUP: group_of(row)} if "group" in row.fields else {}


def _box(row: Row) -> Box | None:
    """Corners truncated to whole pixels; None without a box."""
    if not any(name in row.fields for name in BOX):
        return None
    x1, y1, x2, y2 = (int(number_of(row.fields[name])) for name in BOX)
    return x1, y1, x2, y2


def _box_problems(row: Row) -> Iterator[Problem]:
    given = [name for name in BOX if name in row.fields]
    if given and not image_of(row):
        yield "bad_box", "a box, and no image"
        return
    if given and not all(math.isfinite(number_of(row.fields.get(name))) for name in BOX):
        corners = ", ".join(f"{name} {row.fields.get(name, 'absent')}" for name in BOX)
        yield "bad_box", f"the box is not four numbers: {corners}"

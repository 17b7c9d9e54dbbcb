"""A first manifest: rows that are sound, each picture once, and splits that share no picture and no group."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmer_core.datasets.cells import printable
from mmer_core.datasets.check import looked_at
from mmer_core.datasets.fingerprint import digests
from mmer_core.datasets.formats.manifest import name_of, read_listed, read_manifest
from mmer_core.datasets.initial.alike import deduplicated
from mmer_core.datasets.initial.columns import Choice, like_labels, proposed
from mmer_core.datasets.initial.listing import Listing, listed
from mmer_core.datasets.initial.pictures import Pictures
from mmer_core.datasets.initial.rows import Cells, Rows
from mmer_core.datasets.initial.splits import split
from mmer_core.datasets.initial.written import SUFFIXES, check_text, text_of_manifest
from mmer_core.datasets.manifest_rows import Declaration, checked_row
from mmer_core.datasets.raw import WHERE, RawDataset, without_captions
from mmer_core.datasets.sample import Quarantined, Sample
from mmer_core.errors import DatasetError
from mmer_core.escaping.tables import lines_for_people
from mmer_core.files import write_whole
from mmer_core.progress import Progress, silent
from mmer_core.taxonomy import SPLITS


@dataclass(frozen=True)
class InitialManifest:
    """What was found, and what to write.

    Attributes:
        path: The manifest's.
        content: Its text.
        listing, choices: The source, and what its columns are used as.
        declaration: Labels, and whether a sample has several.
        samples: The samples of the manifest, in the order of the source; ``split_of``: their splits by id.
        left_out: Rows that are not in the manifest, with their reasons.
        notes: What else there is to say, in sentences.
    """

    path: Path
    content: str
    listing: Listing
    choices: list[Choice]
    declaration: Declaration
    samples: list[Sample]
    split_of: dict[str, str]
    left_out: list[Quarantined]
    notes: list[str]

    @property
    def beside(self) -> Path:
        """The file that lists what is left out."""
        return self.path.with_name(f"{self.path.stem}.left-out.csv")

    def write(self) -> None:
        """Write the manifest, and beside it what is left out, each whole or not at all.

        Raises:
            DatasetError: A file cannot be written.
        """
        rows = [(one.id, one.reason, one.detail) for one in self.left_out]
        try:
            if rows:
                write_whole(self.beside, "".join(lines_for_people(("Id", "Reason", "Detail"), rows)))
            write_whole(self.path, self.content)
            if not rows:
                self.beside.unlink(missing_ok=True)
        except OSError as error:
            raise DatasetError(
                f"cannot write {error.filename or self.path}: {error.strerror or error}; name another place by --out"
            ) from None


def target_of(source: Path, images: Path | None = None, out: Path | None = None) -> tuple[Path, Path]:
    """The manifest that `initial_manifest` would write, and the folder of its pictures.

    Raises:
        DatasetError: Its name is none of a manifest, or it would not be in the folder of the pictures.
    """
    folder = os.path.isdir(source)
    base = images or (out.parent if out and not folder else source if folder else source.parent)
    target = out or base / ("manifest.csv" if folder else f"{source.stem}.manifest.csv")
    if target.suffix.lower() not in SUFFIXES:
        raise DatasetError(f"{target} is no name of a manifest: end it with {' or '.join(SUFFIXES)}")
    if os.path.realpath(target.parent) != os.path.realpath(base):
        raise DatasetError(f"{target} would not be in {base}, the folder of the pictures: name a file in it")
    return target, base


def initial_manifest(
    source: Path,
    *,
    images: Path | None = None,
    out: Path | None = None,
    columns: Mapping[str, Sequence[str]] | None = None,
    encoding: str = "",
    seed: int = 0,
    resplit: bool = False,
    workers: int = 1,
    progress: Progress = silent,
) -> InitialManifest:
    """Read a folder or a table, decode every picture, and make a manifest without a fault; nothing is written.

    Args:
        images: Folder of the pictures; by default the source's own, or that of ``out``.
        out: The manifest, ``.csv`` or ``.jsonl``, in the folder of the pictures. If it exists, its pictures keep their splits.
        columns: Columns by role, as for `mmer_core.datasets.initial.columns.proposed`.
        encoding: Of the source's text, instead of what is detected.
        resplit: Make all splits anew, where the source or an existing manifest has some.
        workers: Number of threads that decode.

    Raises:
        DatasetError: The source cannot be read, its columns are not understood, or no row is sound.
    """
    target, base = target_of(source, images, out)
    pictures = Pictures(base)
    listing = listed(source, pictures, encoding)
    choices = proposed(listing, pictures, columns or {})
    image = next((choice.columns[0] for choice in choices if choice.role == "image"), "")
    listing = listed(source, pictures, encoding, image)  # the column of pictures helps to part rows
    rows = Rows(listing, choices, pictures)
    raw = _read(name_of(target), base, rows)
    broken, seen = looked_at(raw, workers=workers, progress=progress)
    refused = {fault.id for fault in broken}
    files = _contents(base, raw.samples)
    unique = deduplicated([sample for sample in raw.samples if printable(sample.id) not in refused], files)
    left_out = without_captions([*rows.left_out, *raw.quarantined, *broken, *unique.left_out])
    left_out = [
        replace(one, split="") for one in left_out
    ]  # that of the reading, in which all rows are in train
    samples = unique.samples
    if not samples:
        reasons = Counter(fault.reason for fault in left_out).most_common()
        said = ", ".join(f"{count} {reason}" for reason, count in reasons)
        raise DatasetError(f"no row of {source} is sound: {said}; the first: {left_out[0].detail}")
    notes = [f"the column {name} is passed on as {other!r}" for name, other in rows.renamed.items()]
    notes += [note.detail for note in raw.notes]
    if not image:
        notes.append(
            "no column names pictures, so rows are texts with labels: --image and --images say where pictures are"
        )
    if not rows.labelled:
        notes += [
            f"the column {name} has {len(values)} values ({', '.join(values)}): if they are labels, give --labels {name}"
            for name, values in like_labels(listing, choices).items()
        ]
    if unique.joined:
        all_rows = unique.joined + len(samples)
        notes.append(
            f"{all_rows:,} rows of {len(samples):,} pictures: one sample a picture, with all of its texts"
        )
    given = {} if resplit else _given(samples, rows.cells)
    kept = {} if resplit or given else _kept(target, samples, files)
    if kept:
        notes.append(
            f"{len(kept):,} samples keep their split of {target.name}: --resplit makes all splits anew"
        )
    prints = {id_: one for split_ in seen.values() for id_, one in split_}
    split_of, about = split(samples, files, prints, given=given, kept=kept, seed=seed)
    declaration = rows.declaration
    if rows.labelled:
        labels = tuple(sorted({label for sample in samples for label in sample.labels or ()}))
        declaration = declaration.model_copy(update={"labels": labels})
    cells = [
        rows.cells[sample.metadata[WHERE]]
        | {"split": split_of[sample.id], "text": [text.text for text in sample.texts]}
        for sample in samples
    ]
    content = text_of_manifest(target.suffix.lower(), cells, declaration)
    check_text(content, target, base, samples, split_of)
    return InitialManifest(
        target, content, listing, choices, declaration, samples, split_of, left_out, notes + about
    )


def _read(name: str, base: Path, rows: Rows) -> RawDataset:
    """The rows as a dataset, by the rules of manifests, all of them in train."""
    if not rows.cells:
        first = f"; the first: {rows.left_out[0].detail}" if rows.left_out else ""
        raise DatasetError(f"no row can be used{first}")
    checked = [
        checked_row(where, [(key, cell) for key, cell in (row | {"split": "train"}).items() if cell != []])
        for where, row in rows.cells.items()
    ]
    if rows.labelled and not any(row.labels for row in checked):
        raise DatasetError("no row has a label: name their column by --labels")
    return read_listed(name, base, checked, rows.declaration)


def _contents(base: Path, samples: Sequence[Sample]) -> dict[str, bytes]:
    """By id the digest of each sample's file, or of its texts if it has none."""
    found = digests(base, sorted({sample.metadata["Filename"] for sample in samples if sample.image}))
    return {
        sample.id: found[sample.metadata["Filename"]] or b""
        if sample.image
        else hashlib.sha256(repr([text.text for text in sample.texts]).encode()).digest()
        for sample in samples
    }


def _given(samples: Sequence[Sample], cells: Mapping[str, Cells]) -> dict[str, str]:
    """Splits that the source names, by id."""
    found = {sample.id: cells[sample.metadata[WHERE]].get("split", "") for sample in samples}
    return {id_: name for id_, name in found.items() if name in SPLITS}


def _kept(target: Path, samples: Sequence[Sample], files: Mapping[str, bytes]) -> dict[str, str]:
    """Splits of the same pictures in the manifest that is there already, by id."""
    if not os.path.isfile(target):
        return {}
    before = read_manifest(target).samples
    there = _contents(target.parent, before)
    split_of = {there[sample.id]: sample.split for sample in before}
    return {sample.id: split_of[files[sample.id]] for sample in samples if files[sample.id] in split_of}

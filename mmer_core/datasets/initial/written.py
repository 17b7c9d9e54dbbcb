"""A manifest as text, and a check that it is read as it is meant."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmer_core.datasets.formats.manifest import read_listed
from mmer_core.datasets.initial.rows import Cells
from mmer_core.datasets.manifest_rows import BOX, Declaration, read_rows
from mmer_core.datasets.raw import CAPTION_NOT_IN_TRAIN, IMAGE_NOT_IN_TRAIN, WHERE
from mmer_core.datasets.sample import Sample
from mmer_core.errors import DatasetError
from mmer_core.tabular import csv_lines
from mmer_core.taxonomy import VAD

SUFFIXES = (".csv", ".jsonl")
_NOT_IN_TRAIN = {CAPTION_NOT_IN_TRAIN: "text", IMAGE_NOT_IN_TRAIN: "picture"}
_FIRST = ("id", "split", "image", "group", "text", "labels", *VAD, *BOX)


def text_of_manifest(suffix: str, rows: Sequence[Cells], declaration: Declaration) -> str:
    """The text of a CSV or JSON Lines manifest.

    Args:
        declaration: With the labels, if there are any.
    """
    declared = declaration.model_dump(exclude_defaults=True, exclude={"separator"})
    separator = ";"
    while suffix == ".csv" and any(separator in label for label in declaration.labels or ()):
        separator += ";"
    declared |= {"separator": separator} if separator != ";" else {}
    heading = f"# {json.dumps(declared, ensure_ascii=False)}\n" if declaration.labels else ""
    if suffix == ".csv":
        return heading + "".join(_csv(rows, separator))
    return heading + "".join(
        json.dumps({name: cell for name, cell in row.items() if cell != []}, ensure_ascii=False) + "\n"
        for row in rows
    )


def check_text(
    content: str, path: Path, base: Path, samples: Sequence[Sample], split_of: Mapping[str, str]
) -> None:
    """Refuse a text that is read as other samples: a reader of CSV forgives, and may take a cell for rows.

    Args:
        path: What the manifest will be called; ``base``: the folder of its pictures.

    Raises:
        DatasetError: It is not read as these samples, or leaves no text or no picture to learn from.
    """
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder, path.name)
        there.write_text(content, encoding="utf-8", newline="")
        rows, declaration = read_rows(there)
    raw = read_listed(path.stem, base, rows, declaration)
    for lost in (*raw.quarantined, *raw.notes):
        if lost.reason in _NOT_IN_TRAIN:
            raise DatasetError(
                f"no sample of train has a {_NOT_IN_TRAIN[lost.reason]}, so nothing could be learned of those in other splits: "
                "give another --seed, or name the splits in a column of the source"
            )
    read = {one.id: (one.split, one.image, _texts(one), one.labels, one.vad, one.box) for one in raw.samples}
    for one in samples:
        if read.get(one.id) != (split_of[one.id], one.image, _texts(one), one.labels, one.vad, one.box):
            raise DatasetError(
                f"{one.metadata[WHERE]} would be read differently from a {path.suffix} file: give --out NAME.jsonl"
            )


def _texts(sample: Sample) -> list[str]:
    return [text.text for text in sample.texts]


def _csv(rows: Sequence[Cells], separator: str) -> Iterator[str]:
    there = dict.fromkeys(name for row in rows for name, cell in row.items() if cell != [])
    names = [name for name in _FIRST if name in there] + [name for name in there if name not in _FIRST]
    texts = max(len(row["text"]) for row in rows)
    columns = [column for name in names for column in [name] * (texts if name == "text" else 1)]

    def line(row: Cells) -> Iterator[object]:
        for name in names:
            if name == "text":
                yield from [*row["text"], *[""] * (texts - len(row["text"]))]
            else:
                yield separator.join(row["labels"]) if name == "labels" else row.get(name, "")

    return csv_lines(columns, map(list, map(line, rows)))

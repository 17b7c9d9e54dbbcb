"""Captions that a model wrote, for photos that no better source describes."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from mmer_core.datasets.delimited import read_rows
from mmer_core.datasets.people_text import TEMPLATE
from mmer_core.datasets.raw import RawDataset
from mmer_core.datasets.sample import Sample, Text
from mmer_core.datasets.text_lines import DAMAGED
from mmer_core.errors import DatasetError

PROVENANCE = "model"
_COLUMNS = ("folder", "filename", "caption", "provenance")


def photo_name(sample: Sample) -> str:
    """``folder/filename`` of a sample's photo, as its dataset calls it."""
    return "/".join(filter(None, (sample.metadata.get("Folder"), sample.metadata.get("Filename"))))


def undescribed(raw: RawDataset) -> dict[str, Path]:
    """Photos with somebody whom only a template describes, or nothing at all; by name, in order of the names."""
    found = {photo_name(sample): sample.image for sample in raw.samples if _needs_text(sample)}
    return dict(sorted(found.items()))


def with_captions(raw: RawDataset, captions: Mapping[str, Text]) -> RawDataset:
    """The dataset with a photo's caption for everybody in it who has nothing better.

    Args:
        captions: Captions by `photo_name`. A photo that is not among them keeps what it has.
    """

    def told(sample: Sample) -> Sample:
        caption = captions.get(photo_name(sample)) if _needs_text(sample) else None
        return replace(sample, texts=(caption,)) if caption else sample

    return replace(raw, samples=[told(sample) for sample in raw.samples])


def write_captions(path: Path, captions: Iterable[tuple[str, Text]]) -> None:
    """Write captions by photo as ``folder, filename, caption, provenance``: a sidecar that can be edited."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for name, text in captions:
            folder, _, filename = name.rpartition("/")
            writer.writerow((folder, filename, text.text, text.provenance))


def read_captions(path: Path) -> Iterator[tuple[str, Text]]:
    """Read what `write_captions` wrote. Raises `DatasetError` when somebody damaged it."""
    for record, row in read_rows(path, _COLUMNS):
        if record.problem or record.damaged:
            problem = record.problem or f"it holds {DAMAGED}"
            raise DatasetError(f"{path}, line {record.line}: {problem}")
        name = "/".join(filter(None, (row["folder"], row["filename"])))
        yield name, Text(row["caption"], row["provenance"])


def _needs_text(sample: Sample) -> bool:
    return all(text.provenance == TEMPLATE for text in sample.texts)

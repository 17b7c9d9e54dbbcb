"""Captions that a model wrote, for photos that no better source describes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from mmer_core.datasets.people_text import TEMPLATE
from mmer_core.datasets.raw import RawDataset
from mmer_core.datasets.sample import Sample, Text
from mmer_core.tabular import read_table, write_table

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
    parted = ((name.rpartition("/"), text) for name, text in captions)
    write_table(path, _COLUMNS, ((at, name, text.text, text.provenance) for (at, _, name), text in parted))


def read_captions(path: Path) -> Iterator[tuple[str, Text]]:
    """Read what `write_captions` wrote."""
    for folder, filename, caption, provenance in read_table(path).itertuples(index=False):
        yield "/".join(filter(None, (folder, filename))), Text(caption, provenance)


def _needs_text(sample: Sample) -> bool:
    return all(text.provenance == TEMPLATE for text in sample.texts)

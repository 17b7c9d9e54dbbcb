"""Captions from a model, for photos without a better source."""

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
    """``folder/filename`` of a sample's photo, as named by the dataset."""
    return "/".join(filter(None, (sample.metadata.get("Folder"), sample.metadata.get("Filename"))))


def photos_to_caption(raw: RawDataset) -> dict[str, Path]:
    """Photos with a person who has only a template text, or none; by name, sorted."""
    found = {
        photo_name(sample): sample.image for sample in raw.samples if sample.image and _needs_text(sample)
    }
    return dict(sorted(found.items()))


def with_captions(raw: RawDataset, captions: Mapping[str, Text]) -> RawDataset:
    """The dataset with a photo's caption for everybody in it who has only a template text, or none.

    Args:
        captions: Captions by `photo_name`. Photos without one keep their texts.
    """

    def captioned(sample: Sample) -> Sample:
        caption = captions.get(photo_name(sample)) if _needs_text(sample) else None
        return replace(sample, texts=(caption,)) if caption else sample

    return replace(raw, samples=[captioned(sample) for sample in raw.samples])


def write_captions(path: Path, captions: Iterable[tuple[str, Text]]) -> None:
    """Write captions by photo as ``folder, filename, caption, provenance``, an editable sidecar."""
    parted = ((name.rpartition("/"), text) for name, text in captions)
    write_table(path, _COLUMNS, ((at, name, text.text, text.provenance) for (at, _, name), text in parted))


def read_captions(path: Path) -> Iterator[tuple[str, Text]]:
    """Read the file of `write_captions`."""
    for folder, filename, caption, provenance in read_table(path).itertuples(index=False):
        yield "/".join(filter(None, (folder, filename))), Text(caption, provenance)


def _needs_text(sample: Sample) -> bool:
    return all(text.provenance == TEMPLATE for text in sample.texts)

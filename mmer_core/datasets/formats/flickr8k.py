"""Flickr8k: one sample per photo, with its captions (Hodosh, Young & Hockenmaier, JAIR 2013)."""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from mmer_core.datasets.cells import flaw
from mmer_core.datasets.flickr_captions import Caption, read_captions
from mmer_core.datasets.flickr_splits import assign, too_short
from mmer_core.datasets.formats.base import Format
from mmer_core.datasets.image_places import ImagePlaces
from mmer_core.datasets.layout import PHOTO_SUFFIXES, folders, require_folder, stays_inside
from mmer_core.datasets.protocols import NOTEBOOK, NOTEBOOK_SPLITS, Protocol, ProtocolOptions
from mmer_core.datasets.raw import NOT_UTF8, RawDataset, orphans, without_captions
from mmer_core.datasets.sample import Quarantined, Sample, Text
from mmer_core.datasets.synthetic_config import SyntheticConfig
from mmer_core.errors import DatasetError
from mmer_core.taxonomy import SPLITS
from mmer_core.text_lines import DAMAGED

Splits = Literal["official", "karpathy", "notebook"]


class Flickr8k(Format):
    """The folder as downloaded, with any of its caption files."""

    name = "flickr8k"
    summary = "photos with five captions each, as downloaded"
    tasks = ("retrieval",)
    protocols = ("corrected", NOTEBOOK)
    captioned = True

    class Options(ProtocolOptions):
        splits: Splits = Field(
            "official",
            description="Flickr8k splits: official lists, Karpathy's JSON, or the notebooks' 70/15/15.",
        )

    options: Options

    def read(self, root: Path) -> RawDataset:
        return read_flickr8k(root, splits=self.options.splits, protocol=self.options.protocol)

    def faults(self, root: Path) -> Sequence[str]:
        """Captions and splits are checked independently."""
        found = []
        try:
            read_captions(root)
        except DatasetError as error:
            found.append(str(error))
        try:
            found += assign(root, [], self.options.splits).faults.values()
        except DatasetError as error:
            found.append(str(error))
        return found

    def draw(self, tree: Path, config: SyntheticConfig) -> None:
        from mmer_core.datasets.synthetic import write_flickr8k

        write_flickr8k(tree, config)


def read_flickr8k(root: Path, *, splits: Splits, protocol: Protocol = "corrected") -> RawDataset:
    """Read photos, captions and splits in any of the formats in circulation.

    The inputs are the photos on disk plus those listed in the splits. Photos without a split or a sound caption are
    quarantined, and so is every caption that cannot be kept; ``notebook`` also drops captions of fewer than three
    words. The protocol ``notebook`` belongs to the splits of that name. Repeated captions stay, because the retrieval protocol counts five per photo.

    Raises:
        DatasetError: A folder or file is missing, unreadable, or not in Flickr8k's layout.
    """
    require_folder(root, "Flickr8k")
    captions = read_captions(root)
    assignment = assign(root, captions, splits)
    folder, on_disk = _photo_folder(root, {caption.photo for caption in captions})
    spelt = _spelt(folder, on_disk, {caption.photo for caption in captions} | set(assignment))
    on_disk = on_disk.difference(spelt.values()).union(spelt)
    photos = sorted(on_disk | set(assignment) if splits != "notebook" else on_disk)
    kept, quarantined = _sort_captions(captions, set(photos), drop_short=splits == "notebook")
    samples = []
    for photo in photos:
        split = assignment.get(photo, "")
        problem = _problem(photo, split, kept[photo], assignment.faults.get(photo, ""))
        if problem:
            quarantined.append(Quarantined(split, photo, *problem))
            quarantined.extend(orphans(split, photo, len(kept[photo]), problem[0]))
        else:
            texts = tuple(Text(text, "dataset") for text in kept[photo])
            file = folder / spelt.get(photo, photo)
            samples.append(Sample(photo, split, file, texts=texts, metadata={"Filename": photo}))
    samples.sort(key=lambda sample: (SPLITS.index(sample.split), sample.id))
    inputs = len(samples) + len(without_captions(quarantined))
    notes = tuple(
        Quarantined("", caption.photo, NOT_UTF8, f"{caption.where}: U+FFFD is in place of {DAMAGED}")
        for caption in captions
        if caption.damaged and not caption.problem
    )
    named = protocol if protocol == NOTEBOOK else NOTEBOOK_SPLITS if splits == NOTEBOOK else splits
    return RawDataset("Flickr8k", "retrieval", (), samples, quarantined, inputs, named, len(captions), notes)


def _photo_folder(root: Path, named: set[str]) -> tuple[Path, set[str]]:
    """The folder that holds most of the captioned photos, and all photos in it."""
    best, photos = None, set[str]()
    for folder in folders(root):
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        found = {name for name in names if Path(name).suffix.lower() in PHOTO_SUFFIXES}
        if len(found & named) > len(photos & named):
            best, photos = folder, found
    if best is None:
        raise DatasetError(f"{root} holds none of the captioned photos: add Flickr8k's Images folder")
    return best, photos


def _spelt(folder: Path, on_disk: set[str], named: set[str]) -> dict[str, str]:
    """On-disk names of photos that captions and splits spell in another Unicode normal form."""
    places, free = ImagePlaces(folder), on_disk - named
    found = {photo: places.spelt(photo) for photo in sorted(named - on_disk) if stays_inside(photo)}
    return {photo: name for photo, name in found.items() if name in free}


def _sort_captions(
    captions: list[Caption], photos: set[str], *, drop_short: bool
) -> tuple[dict[str, list[str]], list[Quarantined]]:
    """Sound captions by photo in file order, and the rejected ones with reasons."""
    kept: dict[str, list[str]] = defaultdict(list)
    quarantined = []
    for caption in captions:
        if caption.problem:
            reason, detail = "caption_malformed", f"{caption.where}: {caption.problem}"
        elif caption.photo not in photos:
            # The token file's ``2258277193_586949ec62.jpg.1`` ends up here: no photo has this name.
            reason, detail = "caption_unknown_photo", f"no such photo, {caption.where}"
        elif not caption.text:
            reason, detail = "caption_empty", caption.where
        elif drop_short and too_short(caption.text):
            reason, detail = "caption_short", f"{caption.where}: {caption.text}"
        else:
            kept[caption.photo].append(caption.text)
            continue
        quarantined.append(Quarantined("", caption.photo or caption.where, reason, detail))
    return kept, quarantined


def _problem(photo: str, split: str, texts: list[str], fault: str) -> tuple[str, str] | None:
    if flawed := flaw(photo):
        return "bad_name", flawed.replace("a cell", "its name")
    if not stays_inside(photo):
        return "outside", "its name leads out of the folder of the photos"
    if fault:
        return "no_split", fault
    if not split:
        return "no_split", "in none of the split lists found"
    if split not in SPLITS:
        return "no_split", f"its split {split!r} is none of {', '.join(SPLITS)}"
    if not texts:
        return "no_caption", "no sound caption names this photo"
    return None

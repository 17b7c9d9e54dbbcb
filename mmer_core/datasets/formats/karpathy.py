"""Photos with captions and splits in one ``dataset_*.json``, as Karpathy & Fei-Fei (CVPR 2015) published them.

https://cs.stanford.edu/people/karpathy/deepimagesent has the files for Flickr8k, Flickr30k and COCO.
"""

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.datasets.cells import flaws
from mmer_core.datasets.flickr_captions import image_fault, read_json
from mmer_core.datasets.formats.base import Format
from mmer_core.datasets.image_places import ImagePlaces
from mmer_core.datasets.layout import find_base, folders, require_folder
from mmer_core.datasets.raw import NOT_UTF8, RawDataset, orphans, without_captions
from mmer_core.datasets.sample import Quarantined, Sample, Text
from mmer_core.datasets.values import is_given
from mmer_core.errors import DatasetError
from mmer_core.taxonomy import SPLITS
from mmer_core.text_lines import DAMAGED

_SOUGHT = 50
"""Photos by which their folder is found."""


class Karpathy(Format):
    """A folder with the file and the photos."""

    name = "karpathy"
    summary = "photos, captions and splits in a dataset_*.json (COCO, Flickr30k, Flickr8k)"
    tasks = ("retrieval",)
    captioned = True

    class Options(Config):
        restval: Literal["train", "none"] = Field(
            "train",
            description="COCO: the split of the 30,504 photos 'restval', which most papers train on too.",
        )

    options: Options

    def read(self, root: Path) -> RawDataset:
        """An entry is an input; one that cannot be used is quarantined, and so is every caption of it.

        Raises:
            DatasetError: There is no such file, several, or one that is none of Karpathy's; or no photo is found.
        """
        path = _file(root)
        images, damaged = read_json(path)
        faults = [image_fault(image) or flaws([image.get("filepath")]) for image in images]
        names = ["" if fault else _name(image) for image, fault in zip(images, faults, strict=True)]
        base = find_base(root, [name for name in names if name][:_SOUGHT])
        if base is None:
            raise DatasetError(f"{root} holds none of the first photos of {path.name}: add the photos")
        places, seen = ImagePlaces(base), Counter[str]()
        samples, quarantined, notes = [], [], []
        for number, (image, name, fault) in enumerate(zip(images, names, faults, strict=True)):
            where = f"image {number} of {path.name}"
            seen[name] += 1
            split = self._split(image) if name else ""
            texts, faulty = _captions(image, split, name or where)
            quarantined += faulty
            place = places.find(name)
            if fault:
                problem = "malformed_row", fault
            elif seen[name] > 1:
                problem = "duplicate_id", f"{name} is there already"
            elif split not in SPLITS:
                problem = "no_split", f"split {split!r} is none of {', '.join(SPLITS)}"
            elif place.fault:
                problem = place.reason, place.fault
            elif not texts:
                problem = "no_caption", "it has no sound sentence"
            else:
                captions = tuple(Text(text, "dataset") for text in texts)
                metadata = {"Filename": place.path}
                samples.append(Sample(name, split, base / place.path, texts=captions, metadata=metadata))
                if damaged and any("\ufffd" in text for text in texts):
                    notes.append(
                        Quarantined(split, name, NOT_UTF8, f"{where}: U+FFFD is in place of {DAMAGED}")
                    )
                continue
            quarantined.append(Quarantined(split, name or where, problem[0], f"{where}: {problem[1]}"))
            quarantined += orphans(split, name or where, len(texts), problem[0])
        samples.sort(key=lambda sample: SPLITS.index(sample.split))
        captioned = sum(len(sample.texts) for sample in samples)
        captioned += len(quarantined) - len(without_captions(quarantined))
        name = path.stem.removeprefix("dataset_") or path.stem
        return RawDataset(
            name, "retrieval", (), samples, quarantined, len(images), "karpathy", captioned, tuple(notes)
        )

    def _split(self, image: dict[str, Any]) -> str:
        split: str = image["split"]
        return self.options.restval if split == "restval" else split


def _file(root: Path) -> Path:
    """The shallowest ``dataset_*.json``."""
    require_folder(root, "karpathy")
    for folder in folders(root):
        found = sorted(folder.glob("dataset_*.json"))
        if len(found) > 1:
            named = " and ".join(path.name for path in found)
            raise DatasetError(f"{folder} holds {named}: give a folder with one of them")
        if found:
            return found[0]
    raise DatasetError(f"{root} holds no dataset_*.json: add Karpathy's file")


def _name(image: dict[str, Any]) -> str:
    """Path of a photo; COCO's are in folders of their own."""
    folder = image.get("filepath")
    return f"{folder}/{image['filename']}" if isinstance(folder, str) and folder else image["filename"]


def _captions(image: Any, split: str, name: str) -> tuple[list[str], list[Quarantined]]:
    """The sound captions as they are written, and the others with reasons."""
    sentences = image.get("sentences") if isinstance(image, dict) else None
    sound, quarantined = [], []
    for number, sentence in enumerate(sentences if isinstance(sentences, list) else ()):
        raw = sentence.get("raw") if isinstance(sentence, dict) else None
        fault = flaws([raw]) if isinstance(raw, str) else "it has no text raw"
        if isinstance(raw, str) and not fault and is_given(raw):
            sound.append(raw)
        else:
            reason = "caption_malformed" if fault else "caption_empty"
            quarantined.append(
                Quarantined(split, name, reason, f"sentence {number}: {fault or 'it is empty'}")
            )
    return sound, quarantined

"""The three formats in which Flickr8k's captions travel, read to the same rows."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmer_core.datasets.layout import find_file, read_csv, tidy
from mmer_core.errors import DatasetError


class Caption(NamedTuple):
    """One caption of a photo; the text may be empty."""

    photo: str
    text: str
    where: str


def read_captions(root: Path) -> list[Caption]:
    """Captions from the first of ``captions.txt``, ``Flickr8k.token.txt`` and ``dataset_flickr8k.json``.

    Raises:
        DatasetError: None of them is there, or the one found is empty or malformed.
    """
    for name, read in _FORMATS.items():
        path = find_file(root, name)
        if path is not None:
            captions = list(read(path))
            if not captions:
                raise DatasetError(f"{path} holds no captions: download Flickr8k's text again")
            return captions
    raise DatasetError(f"{root} holds no captions: add one of {', '.join(_FORMATS)}")


def read_json(path: Path) -> list[dict[str, Any]]:
    """Karpathy's list of images, each with ``filename``, ``split`` and ``sentences``."""
    try:
        images = list(json.loads(path.read_text(encoding="utf-8", errors="replace"))["images"])
    except (ValueError, KeyError, TypeError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise DatasetError(f"{path} is not Karpathy's dataset file ({detail}): download it again") from None
    bad = [f"image {number} ({fault})" for number, image in enumerate(images) if (fault := _fault(image))]
    if bad:
        raise DatasetError(f"{path} is not Karpathy's dataset file: {', '.join(bad)}; download it again")
    return images


def _fault(image: Any) -> str:
    """What an entry of Karpathy's file lacks, if anything."""
    try:
        _ = image["filename"], image["split"], [sentence["raw"] for sentence in image["sentences"]]
    except (KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _kaggle(path: Path) -> Iterator[Caption]:
    for line, row in read_csv(path, ("image", "caption")):
        yield Caption(row["image"].strip(), tidy(row.get("caption", "")), f"line {line} of {path.name}")


def _token(path: Path) -> Iterator[Caption]:
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                key, _, text = line.partition("\t")
                photo = key.rpartition("#")[0] or key
                yield Caption(photo.strip(), tidy(text), f"line {number} of {path.name}")


def _karpathy(path: Path) -> Iterator[Caption]:
    for image in read_json(path):
        for number, sentence in enumerate(image["sentences"]):
            where = f"sentence {number} of {image['filename']} in {path.name}"
            yield Caption(str(image["filename"]), tidy(str(sentence["raw"])), where)


KARPATHY_FILE = "dataset_flickr8k.json"
_FORMATS: dict[str, Callable[[Path], Iterator[Caption]]] = {
    "captions.txt": _kaggle,
    "Flickr8k.token.txt": _token,
    KARPATHY_FILE: _karpathy,
}

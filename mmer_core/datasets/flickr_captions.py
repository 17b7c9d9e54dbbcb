"""The three formats of Flickr8k's captions, read into the same rows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmer_core.datasets.cells import flaws
from mmer_core.datasets.delimited import read_rows
from mmer_core.datasets.layout import find_file
from mmer_core.errors import DatasetError
from mmer_core.strict_json import parse_leniently
from mmer_core.text_lines import Text, read_lines, read_text, single_line


class Caption(NamedTuple):
    """One caption of a photo; the text may be empty.

    Attributes:
        problem: Why it cannot be read, or ``""``.
        damaged: Whether invalid UTF-8 became U+FFFD in it.
    """

    photo: str
    text: str
    where: str
    problem: str = ""
    damaged: bool = False


def read_captions(root: Path) -> list[Caption]:
    """Captions from the first of ``captions.txt``, ``Flickr8k.token.txt`` and ``dataset_flickr8k.json``.

    Raises:
        DatasetError: None of them exists, or the one found is empty or malformed.
    """
    for name, read in _FORMATS.items():
        path = find_file(root, name)
        if path is not None:
            captions = list(read(path))
            if captions and all(caption.problem for caption in captions):
                bad = captions[0]
                raise DatasetError(f"{path} holds no caption that can be read; {bad.where}: {bad.problem}")
            if not captions:
                raise DatasetError(f"{path} holds no captions: download Flickr8k's text again")
            return captions
    raise DatasetError(f"{root} holds no captions: add one of {', '.join(_FORMATS)}")


def read_json(path: Path) -> tuple[list[Any], bool]:
    """Karpathy's list of images, each with ``filename``, ``split`` and ``sentences`` unless it is faulty.

    Returns:
        The list, and whether the file holds invalid UTF-8, which became U+FFFD.

    Raises:
        DatasetError: The file is not such a list, or none of its entries is sound.
    """
    try:
        text, damaged = read_text(path)
        images = parse_leniently(text)["images"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise DatasetError(f"{path} is not Karpathy's dataset file ({detail}): download it again") from None
    faults = [image_fault(image) for image in images] if isinstance(images, list) else ["no list of images"]
    if all(faults) and faults:
        named = ", ".join(f"image {number} ({fault})" for number, fault in enumerate(faults[:_NAMED]))
        raise DatasetError(f"{path} is not Karpathy's dataset file: {named}; download it again")
    return list(images), bool(damaged)


def image_fault(image: Any) -> str:
    """What an entry of Karpathy's file lacks to assign its photo to a split, or ``""``."""
    if not isinstance(image, dict):
        return "it is no object"
    lacking = [
        name for name in ("filename", "split") if not (isinstance(image.get(name), str) and image[name])
    ]
    if lacking:
        return f"it has no {' and no '.join(lacking)}"
    return flaws([image["filename"], image["split"]])


def _kaggle(path: Path) -> Iterator[Caption]:
    for record, row in read_rows(path, ("image", "caption"), files="image", joined_to="caption"):
        photo, text = row.get("image", "").strip(), single_line(row.get("caption", ""))
        yield Caption(photo, text, f"line {record.line} of {path.name}", record.problem, record.damaged)


def _token(path: Path) -> Iterator[Caption]:
    text = _read(path)
    for place, line in enumerate(text.lines):
        if line.strip():
            key, tab, caption = line.partition("\t")
            photo = (key.rpartition("#")[0] or key).strip()
            problem = flaws([line]) if tab else "no tab is between a photo and a caption"
            where = f"line {place + 1} of {path.name}"
            yield Caption(photo, single_line(caption), where, problem, place in text.damaged)


def _karpathy(path: Path) -> Iterator[Caption]:
    images, damaged = read_json(path)
    for place, image in enumerate(images):
        name = image.get("filename") if isinstance(image, dict) else None
        sentences = image.get("sentences") if isinstance(image, dict) else None
        photo = name if isinstance(name, str) else ""
        if not photo or not isinstance(sentences, list):
            where = f"image {place} of {path.name}"
            yield Caption(photo, "", where, "it has no " + ("list of sentences" if photo else "filename"))
            continue
        for number, sentence in enumerate(sentences):
            raw = sentence.get("raw") if isinstance(sentence, dict) else None
            problem = flaws([photo, raw]) if isinstance(raw, str) else "it has no text raw"
            where = f"sentence {number} of {photo} in {path.name}"
            text = single_line(raw) if isinstance(raw, str) else ""
            yield Caption(photo, text, where, problem, damaged and "\ufffd" in text)


def _read(path: Path) -> Text:
    try:
        return read_lines(path)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}; make it readable") from None


_NAMED = 5
KARPATHY_FILE = "dataset_flickr8k.json"
_FORMATS: dict[str, Callable[[Path], Iterator[Caption]]] = {
    "captions.txt": _kaggle,
    "Flickr8k.token.txt": _token,
    KARPATHY_FILE: _karpathy,
}

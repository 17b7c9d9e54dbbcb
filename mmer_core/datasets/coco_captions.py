"""COCO's own captions for the photos that EMOTIC took from COCO (Chen et al., *Microsoft COCO Captions*, 2015)."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmer_core.datasets.cells import flaws
from mmer_core.datasets.people_text import Photo
from mmer_core.datasets.raw import NOT_UTF8
from mmer_core.datasets.sample import Quarantined, Text
from mmer_core.errors import DatasetError
from mmer_core.strict_json import parse_leniently
from mmer_core.text_lines import DAMAGED, read_text, single_line

DATABASE = "mscoco"
_DIGITS = re.compile(r"[0-9]{1,18}")
_NAME = re.compile(r"(?:COCO_(?:train|val|test)\d{4}_)?(\d{12})\.jpe?g", re.IGNORECASE)


class CocoCaptions(dict[int, tuple[Text, ...]]):
    """Captions by COCO image id, in the order of the files.

    ``quarantined`` holds the unreadable entries, ``notes`` the places where invalid bytes became U+FFFD.
    """

    def __init__(self) -> None:
        super().__init__()
        self.quarantined: list[Quarantined] = []
        self.notes: list[Quarantined] = []


def image_id(photo: Photo) -> int | None:
    """The COCO id in ``COCO_train2014_000000123456.jpg`` or ``000000123456.jpg``; None outside ``mscoco``."""
    folder, filename = photo
    name = _NAME.fullmatch(filename)
    return int(name[1]) if name and folder.split("/")[0] == DATABASE else None


def read_coco_captions(paths: Sequence[Path]) -> CocoCaptions:
    """Read ``captions_*.json`` files; a repeated caption counts once, also across files.

    Raises:
        DatasetError: A file is missing, is not JSON, or not in the layout of COCO's captions.
    """
    found = CocoCaptions()
    captions: dict[int, dict[str, None]] = defaultdict(dict)
    for path in paths:
        entries, damaged = _annotations(path)
        faults = [_fault(entry) for entry in entries]
        if entries and all(faults):
            raise _layout(path)
        for place, (entry, fault) in enumerate(zip(entries, faults, strict=True)):
            where = f"annotation {place} of {path.name}"
            if fault:
                found.quarantined.append(Quarantined("", where, "caption_malformed", f"{where}: {fault}"))
            elif caption := single_line(entry["caption"]):
                captions[int(entry["image_id"])][caption] = None
                if damaged and "\ufffd" in caption:
                    detail = f"{where}: U+FFFD is in place of {DAMAGED}"
                    found.notes.append(Quarantined("", str(entry["image_id"]), NOT_UTF8, detail))
    found.update(
        {number: tuple(Text(caption, "coco") for caption in written) for number, written in captions.items()}
    )
    return found


def _annotations(path: Path) -> tuple[list[Any], bool]:
    """The entries, and whether the file holds invalid UTF-8."""
    try:
        text, damaged = read_text(path)
        content = parse_leniently(text)
    except OSError as error:
        raise DatasetError(
            f"cannot read {path}: {error.strerror or error}; give a captions_*.json of COCO"
        ) from None
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON ({error}): download COCO's captions again") from None
    entries = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise _layout(path)
    return entries, bool(damaged)


def _layout(path: Path) -> DatasetError:
    return DatasetError(
        f"{path} has no list 'annotations' with image_id and caption: give COCO's captions_*.json, "
        "not its instances or keypoints"
    )


def _fault(entry: Any) -> str:
    """What is wrong with an annotation, or ``""``."""
    if not isinstance(entry, dict):
        return "it is no object"
    number, caption = entry.get("image_id"), entry.get("caption")
    if isinstance(number, bool) or not (isinstance(number, int) or _DIGITS.fullmatch(str(number))):
        return f"image_id {str(number)[:20]!r} is no number"
    return flaws([caption]) if isinstance(caption, str) else "it has no text caption"

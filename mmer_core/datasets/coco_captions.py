"""COCO's own captions for the photos that EMOTIC took from COCO (Chen et al., *Microsoft COCO Captions*, 2015)."""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mmer_core.datasets.layout import tidy
from mmer_core.datasets.people_text import Photo
from mmer_core.datasets.sample import Text
from mmer_core.errors import DatasetError

DATABASE = "mscoco"
_NAME = re.compile(r"(?:COCO_(?:train|val|test)\d{4}_)?(\d{12})\.jpe?g", re.IGNORECASE)

CocoCaptions = dict[int, tuple[Text, ...]]
"""Captions by COCO image id, in the order of the files."""


def image_id(photo: Photo) -> int | None:
    """The COCO id in ``COCO_train2014_000000123456.jpg`` or ``000000123456.jpg``; None outside ``mscoco``."""
    folder, filename = photo
    name = _NAME.fullmatch(filename)
    return int(name[1]) if name and folder.split("/")[0] == DATABASE else None


def read_coco_captions(paths: Sequence[Path]) -> CocoCaptions:
    """Read ``captions_*.json`` files; a caption that is repeated, also over files, counts once.

    Raises:
        DatasetError: A file is missing, is not JSON, or not in the layout of COCO's captions.
    """
    captions: dict[int, dict[str, None]] = defaultdict(dict)
    for path in paths:
        for number, caption in _annotations(path):
            if caption:
                captions[number][caption] = None
    return {
        number: tuple(Text(caption, "coco") for caption in written) for number, written in captions.items()
    }


def _annotations(path: Path) -> list[tuple[int, str]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [(int(row["image_id"]), tidy(row["caption"])) for row in content["annotations"]]
    except OSError as error:
        raise DatasetError(
            f"cannot read {path}: {error.strerror or error}; give a captions_*.json of COCO"
        ) from None
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON ({error}): download COCO's captions again") from None
    except (KeyError, TypeError, AttributeError):
        raise DatasetError(
            f"{path} has no list 'annotations' with image_id and caption: give COCO's captions_*.json, "
            "not its instances or keypoints"
        ) from None

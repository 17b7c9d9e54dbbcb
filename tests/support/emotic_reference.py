"""Both EMOTIC protocols, written slowly and obviously: one person at a time, straight from the struct arrays."""

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps
from scipy.io import loadmat

from mmer_core.taxonomy import EMOTIC_CATEGORIES


class Row(NamedTuple):
    """One person as the arrays and the CSV should hold them."""

    context: np.ndarray
    body: np.ndarray
    categories: np.ndarray
    continuous: np.ndarray
    csv: dict[str, Any]


def convert(root: Path, split: str, protocol: str, sides: tuple[int, int]) -> tuple[list[Row], int]:
    """The people of a split that a protocol keeps, and how many are annotated in all."""
    rows, annotated = [], 0
    for image in loadmat(root / "Annotations" / "Annotations.mat")[split].ravel():
        for person in image["person"].ravel():
            annotated += 1
            row = (_mat2py if protocol == "mat2py" else _corrected)(
                root / "emotic", split, image, person, sides
            )
            if row is not None:
                rows.append(row)
    return rows, annotated


def _strings(cell: Any) -> list[str]:
    return [str(np.asarray(item).ravel()[0]) for item in np.asarray(cell).ravel()]


def _annotation(split: str, image: Any, person: Any) -> tuple[list[str], list[float], dict[str, Any]]:
    if split == "train":
        labels = _strings(person["annotations_categories"].ravel()[0]["categories"])
        vad = person["annotations_continuous"].ravel()[0]
    else:
        labels = _strings(person["combined_categories"])
        vad = person["combined_continuous"].ravel()[0]
    vad = [float(vad[name].ravel()[0]) for name in ("valence", "arousal", "dominance")]
    columns = {
        "Folder": str(image["folder"][0]),
        "Filename": str(image["filename"][0]),
        "Categorical_Labels": labels,
        "Continuous_Labels": vad,
        "Gender": str(person["gender"][0]),
        "Age": str(person["age"][0]),
    }
    return labels, vad, columns


def _one_hot(labels: list[str]) -> np.ndarray:
    return np.array([float(name in labels) for name in EMOTIC_CATEGORIES])


def _clamped(person: Any, width: int, height: int) -> list[int]:
    x1, y1, x2, y2 = person["body_bbox"].ravel().tolist()
    return [
        int(min(width, max(0, x1))), int(min(height, max(0, y1))),
        int(min(width, max(0, x2))), int(min(height, max(0, y2))),
    ]  # fmt: skip


def _mat2py(base: Path, split: str, image: Any, person: Any, sides: tuple[int, int]) -> Row | None:
    labels, vad, columns = _annotation(split, image, person)
    size = image["image_size"].ravel()[0]
    width, height = int(size["n_col"].ravel()[0]), int(size["n_row"].ravel()[0])
    box = _clamped(person, width, height)
    path = base / columns["Folder"] / columns["Filename"]
    pixels = cv2.imread(str(path)) if path.exists() else None
    if pixels is None:
        return None
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    crop = pixels[box[1] : box[3], box[0] : box[2]].copy()
    if crop.size == 0 or np.isnan(vad).any():
        return None
    context = cv2.resize(pixels, (sides[0], sides[0]), interpolation=cv2.INTER_LINEAR)
    body = cv2.resize(crop, (sides[1], sides[1]), interpolation=cv2.INTER_LINEAR)
    columns |= {"Image Size": [width, height], "BBox": box}
    return Row(context, body, _one_hot(labels), np.array(vad), columns)


def _corrected(base: Path, split: str, image: Any, person: Any, sides: tuple[int, int]) -> Row | None:
    labels, vad, columns = _annotation(split, image, person)
    try:
        with Image.open(base / columns["Folder"] / columns["Filename"]) as opened:
            opened.load()
            picture = ImageOps.exif_transpose(opened)
    except (OSError, SyntaxError):
        return None
    if picture.mode.startswith("I"):
        picture = Image.fromarray(np.rint(np.asarray(picture) / 257).astype(np.uint8))
    picture = picture.convert("RGB")
    box = _clamped(person, *picture.size)
    crop = np.asarray(picture)[box[1] : box[3], box[0] : box[2]]
    if crop.size == 0 or np.isnan(vad).any() or not labels:
        return None
    context = picture.resize((sides[0], sides[0]), Image.Resampling.BILINEAR)
    body = Image.fromarray(crop).resize((sides[1], sides[1]), Image.Resampling.BILINEAR)
    columns |= {"Image Size": list(picture.size), "BBox": box, "Categorical_Labels": [*dict.fromkeys(labels)]}
    return Row(np.asarray(context), np.asarray(body), _one_hot(labels), np.array(vad, np.float32), columns)

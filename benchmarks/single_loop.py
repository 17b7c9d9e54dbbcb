"""The straightforward conversion: one loop that decodes a photo for every person in it, and lists that become arrays.

A plain re-implementation of the EMOTIC reference converter, and of the same idea for a captioned dataset: everything is
appended to lists, then saved by ``np.array`` and ``np.save``. The reference decodes and resizes with OpenCV (`by_opencv`),
bilinearly and without antialiasing. mmer's other protocols resize with antialiasing, which a plain program does with Pillow
(`by_pillow`).
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from scipy.io import loadmat

from mmer_core.datasets.flickr_splits import LISTS
from mmer_core.taxonomy import EMOTIC_CATEGORIES, SPLITS, VAD

CONTEXT, BODY = 224, 128


Box = tuple[int, int, int, int]
Square = Callable[[int, Box | None], np.ndarray]
"""A photo, or what is in a box of it, as a square of so many pixels a side; empty if the box is."""


def by_opencv(path: Path) -> Square | None:
    """Decode as the reference does; None if that is impossible."""
    decoded = cv2.imread(str(path))
    if decoded is None:
        return None
    photo = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)

    def square(side: int, box: Box | None = None) -> np.ndarray:
        x1, y1, x2, y2 = box or (0, 0, photo.shape[1], photo.shape[0])
        part = photo[y1:y2, x1:x2]
        return cv2.resize(part, (side, side)) if part.size else part

    return square


def by_pillow(path: Path) -> Square | None:
    """Decode with Pillow, and resize with its antialiased bilinear filter."""
    try:
        with Image.open(path) as file:
            photo = file.convert("RGB")
    except OSError:
        return None

    def square(side: int, box: Box | None = None) -> np.ndarray:
        part = photo.crop(box) if box else photo
        return np.asarray(part.resize((side, side), Image.Resampling.BILINEAR) if all(part.size) else part)

    return square


def convert_emotic(root: Path, out: Path, read: Callable[[Path], Square | None]) -> None:
    """One row per person: context, body, 26 categories, 3 ratings, and a line of the split's CSV."""
    content = loadmat(root / "Annotations" / "Annotations.mat")
    for split in SPLITS:
        contexts, bodies, categories, ratings, lines = [], [], [], [], []
        for image in content[split].ravel():
            folder, name = str(image["folder"][0]), str(image["filename"][0])
            size = image["image_size"].ravel()[0]
            width, height = int(size["n_col"].ravel()[0]), int(size["n_row"].ravel()[0])
            for person in image["person"].ravel():
                photo = read(root / "emotic" / folder / name)
                assert photo is not None
                x1, y1, x2, y2 = person["body_bbox"].ravel().astype(int)
                x1, x2 = min(width, max(0, x1)), min(width, max(0, x2))
                y1, y2 = min(height, max(0, y1)), min(height, max(0, y2))
                body = photo(BODY, (x1, y1, x2, y2))
                if body.size == 0:
                    continue
                contexts.append(photo(CONTEXT, None))
                bodies.append(body)
                labels, rated = _judgement(person, split)
                categories.append([float(category in labels) for category in EMOTIC_CATEGORIES])
                ratings.append(rated)
                box = [int(corner) for corner in (x1, y1, x2, y2)]
                lines.append(
                    [folder, name, [width, height], box, labels, rated, person["gender"][0], person["age"][0]]
                )
        for what, rows in (("context", contexts), ("body", bodies), ("cat", categories), ("cont", ratings)):
            np.save(out / f"{split}_{what}_arr.npy", np.array(rows))
        _write_csv(out / f"{split}.csv", lines)


def decode_emotic_once(root: Path) -> None:
    """What no conversion can do without: each photo is decoded once, and resized for everybody in it. Nothing is kept."""
    content = loadmat(root / "Annotations" / "Annotations.mat")
    for split in SPLITS:
        for image in content[split].ravel():
            photo = cv2.imread(
                str(root / "emotic" / str(image["folder"][0]) / str(image["filename"][0])),
                cv2.IMREAD_COLOR_RGB,
            )
            assert photo is not None
            cv2.resize(photo, (CONTEXT, CONTEXT))
            for person in image["person"].ravel():
                x1, y1, x2, y2 = person["body_bbox"].ravel().astype(int)
                cv2.resize(photo[max(0, y1) : y2, max(0, x1) : x2], (BODY, BODY))


def _judgement(person: Any, split: str) -> tuple[list[str], list[float]]:
    if split == "train":
        cell = person["annotations_categories"].ravel()[0]["categories"]
        rated = person["annotations_continuous"].ravel()[0]
    else:
        cell, rated = person["combined_categories"], person["combined_continuous"].ravel()[0]
    return [str(name[0]) for name in cell.ravel()], [float(rated[axis].ravel()[0]) for axis in VAD]


def convert_flickr8k(root: Path, out: Path, read: Callable[[Path], Square | None]) -> None:
    """One row per caption: its photo, and a line of the split's CSV."""
    with (root / "captions.txt").open(encoding="utf-8", newline="") as handle:
        captions = [(row["image"], row["caption"]) for row in csv.DictReader(handle)]
    for split, name in LISTS.items():
        photos = set((root / name).read_text().split()) if (root / name).exists() else set()
        contexts, lines = [], []
        for photo, caption in captions:
            if photo not in photos:
                continue
            pixels = read(root / "Images" / photo)
            if pixels is None:
                continue
            contexts.append(pixels(CONTEXT, None))
            lines.append([photo, caption])
        if lines:
            np.save(out / f"{split}_context_arr.npy", np.array(contexts))
            _write_csv(out / f"{split}.csv", lines)


def _write_csv(path: Path, lines: list[list[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([index, *line] for index, line in enumerate(lines))

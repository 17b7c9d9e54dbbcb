"""A miniature EMOTIC on disk, including the pitfalls of the real one."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from mmer_core.datasets.synthetic.describe import caption_person
from mmer_core.datasets.synthetic.emotic_mat import Person, Photo, write_annotations
from mmer_core.datasets.synthetic.emotions import chances, rate
from mmer_core.datasets.synthetic.shares import draw_photo, generator, split_sizes
from mmer_core.datasets.synthetic_config import SyntheticConfig
from mmer_core.taxonomy import EMOTIC_CATEGORIES

CAPTIONS_FILE = "captions.csv"
_FOLDERS = ("mscoco/images", "framesdb/images", "emodb_small/images", "ade20k/images")
_SHARES = (0.5, 0.2, 0.2, 0.1)
_ANNOTATORS = {"train": 1, "val": 4, "test": 3}
_SAME_NAME = (8, 9)
"""Train photos that share a file name in different folders."""
_UNSEEN = {"train": {4, 5, 7}, "val": set[int](), "test": {0}}
"""Photos with a person whom a reader must refuse; they do not count as examples of a category."""


def write_emotic(root: Path, config: SyntheticConfig) -> Path:
    """Write ``emotic/<database>/images``, ``Annotations/Annotations.mat`` and ``captions.csv``.

    Returns:
        The root.
    """
    (root / "Annotations").mkdir(parents=True, exist_ok=True)
    for folder in _FOLDERS:
        (root / "emotic" / folder).mkdir(parents=True, exist_ok=True)
    splits: dict[str, list[Photo]] = {}
    captions: list[tuple[str, str, int, str]] = []
    number = 0
    for split, count in split_sizes(config).items():
        splits[split] = []
        for place in range(count):
            photo, texts = _draw(root / "emotic", config, split, place, number)
            splits[split].append(photo)
            captions += [(photo.folder, photo.filename, person, text) for person, text in enumerate(texts)]
            number += 1
        _show_every_category(splits[split], _UNSEEN[split])
        if config.shuffle_labels:
            _shuffle(splits[split], generator(config, f"shuffle {split}"))
    _set_traps(splits)
    write_annotations(root / "Annotations" / "Annotations.mat", splits)
    with (root / CAPTIONS_FILE).open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerows([("folder", "filename", "person", "caption"), *captions])
    return root


def _draw(
    base: Path, config: SyntheticConfig, split: str, place: int, number: int
) -> tuple[Photo, list[str]]:
    """Draw one photo, save it, and return its annotations and one caption per person."""
    rng = generator(config, "emotic", number)
    scene, drawing = draw_photo(rng)
    folder = _FOLDERS[int(rng.choice(len(_FOLDERS), p=_SHARES))]
    name = f"{split}_{number:06d}.jpg"
    save = _SPECIAL_FILES.get(place, _save_jpeg) if split == "train" else _save_jpeg
    if split == "train":
        name = name.replace(".jpg", ".png") if save is _save_palette else name
        if place in _SAME_NAME:
            folder, name = _FOLDERS[_SAME_NAME.index(place)], "same_name.jpg"
    save(drawing.image, base / folder / name)
    size = drawing.image.size if folder != "emodb_small/images" else drawing.image.size[::-1]
    people = [
        Person(box, figure.gender, figure.age, cues, [rate(cues, rng) for _ in range(_ANNOTATORS[split])])
        for figure, box in zip(scene.figures, drawing.boxes, strict=True)
        for cues in [scene.cues(figure)]
    ]
    texts = [caption_person(scene, figure, rng) for figure in scene.figures]
    return Photo(folder, name, size, people), texts


def _show_every_category(photos: list[Photo], unseen: set[int]) -> None:
    """Add each absent category to the person whom it fits best, so that rare ones are never missing by chance."""
    people = [person for row, photo in enumerate(photos) if row not in unseen for person in photo.people]
    suits = np.array([chances(person.cues) for person in people])
    for column, category in enumerate(EMOTIC_CATEGORIES):
        if not any(category in rating.categories for person in people for rating in person.ratings):
            people[int(suits[:, column].argmax())].ratings[0].categories.append(category)


def _shuffle(photos: list[Photo], rng: np.random.Generator) -> None:
    people = [person for photo in photos for person in photo.people]
    ratings = [person.ratings for person in people]
    for person, row in zip(people, rng.permutation(len(people)), strict=True):
        person.ratings = ratings[row]


def _set_traps(splits: dict[str, list[Photo]]) -> None:
    """Reproduce the faults of the real annotations; broken files are in `_SPECIAL_FILES`."""
    train, test = splits["train"], splits["test"]
    unrated = train[5].people[0].ratings[0]
    unrated.vad = (unrated.vad[0], math.nan, unrated.vad[2])
    _, _, x2, y2 = train[6].people[0].box
    train[6].people[0].box = (-12, -7, x2, y2)
    width, height = train[7].size
    train[7].people[0].box = (width + 200, 10, width + 260, height + 200)
    for rating in test[0].people[0].ratings:
        rating.categories = []
    # One annotator gave no category: the union of the others still labels the person.
    silenced = test[1].people[0].ratings
    silenced[1].categories = [*dict.fromkeys(silenced[0].categories + silenced[1].categories)]
    silenced[0].categories = []


def _save_jpeg(image: Image.Image, path: Path) -> None:
    image.save(path, quality=90)


def _save_gray(image: Image.Image, path: Path) -> None:
    image.convert("L").save(path, quality=90)


def _save_cmyk(image: Image.Image, path: Path) -> None:
    image.convert("CMYK").save(path, quality=90)


def _save_palette(image: Image.Image, path: Path) -> None:
    image.quantize(64).save(path)


def _save_rotated(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: turn clockwise by 90 degrees for display.
    image.transpose(Image.Transpose.ROTATE_90).save(path, quality=90, exif=exif)


def _save_truncated(image: Image.Image, path: Path) -> None:
    image.save(path, quality=90)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


_SPECIAL_FILES: dict[int, Callable[[Image.Image, Path], None]] = {
    0: _save_gray,
    1: _save_cmyk,
    2: _save_palette,
    3: _save_rotated,
    4: _save_truncated,
}
"""Train photos saved in an awkward way, by position."""

"""``Annotations.mat`` with the shapes of the real one, as written by MATLAB."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmer_core.datasets.synthetic.emotions import Rating
from mmer_core.taxonomy import EMOTIC_CATEGORIES, VAD


@dataclass
class Person:
    """One annotated person; ``ratings`` has one entry per annotator (one in train)."""

    box: tuple[int, int, int, int]
    gender: str
    age: str
    cues: frozenset[str]
    ratings: list[Rating]


@dataclass
class Photo:
    """One annotated photo; ``size`` is ``(n_col, n_row)`` as annotated, whether correct or not."""

    folder: str
    filename: str
    size: tuple[int, int]
    people: list[Person]


def write_annotations(path: Path, splits: Mapping[str, Sequence[Photo]]) -> None:
    """Write the struct arrays ``train``, ``val`` and ``test``."""
    from scipy.io import savemat

    content = {
        split: _structs([_photo(photo, split) for photo in photos]) for split, photos in splits.items()
    }
    savemat(path, content, do_compression=True, oned_as="row")


def _photo(photo: Photo, split: str) -> dict[str, Any]:
    database = photo.folder.split("/")[0]
    # COCO photos have their COCO ids in this field; for the other databases it is empty, which loads as 0x0.
    info = _structs([{"image_id": float(1000 + photo.size[0])}]) if database == "mscoco" else _empty()
    person = _train_person if split == "train" else _judged_person
    return {
        "filename": photo.filename,
        "folder": photo.folder,
        "image_size": _structs([{"n_col": float(photo.size[0]), "n_row": float(photo.size[1])}]),
        "original_database": _structs([{"name": database, "info": info}]),
        "person": _structs([person(one) for one in photo.people]),
    }


def _train_person(person: Person) -> dict[str, Any]:
    rating = person.ratings[0]
    return {
        "body_bbox": np.array([person.box], float),
        "annotations_categories": _structs([{"categories": _cell(rating.categories)}]),
        "annotations_continuous": _structs([_continuous(rating.vad)]),
        "gender": person.gender,
        "age": person.age,
    }


def _judged_person(person: Person) -> dict[str, Any]:
    named = {name for rating in person.ratings for name in rating.categories}
    mean = np.mean([rating.vad for rating in person.ratings], axis=0)
    return {
        "body_bbox": np.array([person.box], float),
        "annotations_categories": _structs([{"categories": _cell(r.categories)} for r in person.ratings]),
        "combined_categories": _cell([name for name in EMOTIC_CATEGORIES if name in named]),
        "annotations_continuous": _structs([_continuous(rating.vad) for rating in person.ratings]),
        "combined_continuous": _structs([_continuous(mean)]),
        "gender": person.gender,
        "age": person.age,
    }


def _continuous(vad: Sequence[float] | np.ndarray) -> dict[str, Any]:
    return {name: float(value) for name, value in zip(VAD, vad, strict=True)}


def _structs(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """A 1xN struct array; MATLAB keeps the order of fields."""
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for column, row in enumerate(rows):
        for name, value in row.items():
            array[0, column][name] = value
    return array


def _cell(strings: Sequence[str]) -> np.ndarray:
    """A 1xK cell of strings, also for K = 0: the reference converter reads the first row."""
    cell = np.empty((1, len(strings)), dtype=object)
    cell[0, :] = strings
    return cell


def _empty() -> np.ndarray:
    return np.zeros((0, 0))

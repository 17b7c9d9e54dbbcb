"""A few samples of a prepared dataset to look at: the photo, the person's box, and what is said of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.datasets.proportions import photo_size, with_aspect_ratio
from mmer_core.reporting.view import Picture

SIDE = 220
"""Longest side in pixels of a picture on the sheet."""
_COLUMNS, _GAP, _BOX = 6, 8, (255, 225, 77)

Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True)
class Shown:
    """One sample.

    Attributes:
        picture: ``(H, W, 3)`` uint8 in the photo's proportions; None where there is none.
        box: The person's ``(x1, y1, x2, y2)`` in pixels of ``picture``, or None.
        ratings: By continuous dimension, in 1..10.
    """

    id: str
    split: str
    picture: Picture | None
    box: Rectangle | None
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    ratings: tuple[float, ...]


def pick_samples(prepared: Prepared, count: int) -> list[Shown]:
    """About ``count`` samples, as many of each split, evenly spaced within it: always the same ones."""
    splits = [prepared.split(name) for name in prepared.card.splits]
    each = -(-count // len(splits)) if count else 0
    return [
        _shown(split, int(row))
        for split in splits
        for row in np.unique(np.linspace(0, len(split) - 1, min(each, len(split))).astype(int))
    ]


def contact_sheet(shown: Sequence[Shown]) -> Image.Image:
    """All pictures on one sheet, boxes drawn in."""
    pictures = [(sample.picture, sample.box) for sample in shown if sample.picture is not None]
    rows = -(-len(pictures) // _COLUMNS)
    cell = SIDE + _GAP
    sheet = Image.new("RGB", (_COLUMNS * cell + _GAP, rows * cell + _GAP), (245, 245, 243))
    for place, (pixels, box) in enumerate(pictures):
        picture = Image.fromarray(pixels)
        if box is not None:
            ImageDraw.Draw(picture).rectangle(box, outline=_BOX, width=2)
        row, column = divmod(place, _COLUMNS)
        sheet.paste(picture, (_GAP + column * cell, _GAP + row * cell))
    return sheet


def _shown(split: PreparedSplit, row: int) -> Shown:
    record = split.table.iloc[row]
    box: Rectangle | None = None
    if record.get("BBox"):
        scale = SIDE / max(photo_size(split, row))
        x1, y1, x2, y2 = (scale * corner for corner in json.loads(record["BBox"]))
        box = x1, y1, x2 - 1, y2 - 1
    texts = [text for text, sample in zip(split.texts, split.text_sample, strict=True) if sample == row]
    named = (
        [label for label, has in zip(split.card.labels, split.labels[row], strict=True) if has]
        if split.card.labels
        else []
    )
    ratings = tuple(float(value) for value in split.vad[row])
    return Shown(
        split.ids[row],
        split.split,
        with_aspect_ratio(split, row, SIDE) if row in split.image_sample else None,
        box,
        tuple(texts),
        tuple(named),
        ratings,
    )

"""An imbalanced multi-label dataset in which it is known which modality shows which category.

Photos of 256 x 256 pixels with a box of 32 x 32. A third of the categories shows in large coloured patches of
the photo, a third in fine stripes inside the box, a third in words of the text. The stripes alternate a colour
with its complement, so that they are grey as soon as the photo is made smaller: only the box shows them.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

PREVALENCE = (0.4, 0.2, 0.08, 0.02)
MODALITIES = ("context", "body", "text")
LABELS = tuple(f"{modality}-{share:g}" for modality in MODALITIES for share in PREVALENCE)
SPLITS = {"train": 450, "val": 150, "test": 300}
SIDE, BOX = 256, 32
MISSED, IMAGINED = 0.1, 0.02
"""Noise: how often what is there does not show, and (as a share of the category's own) what is not there does."""
WITHOUT_TEXT = 0.1

_COLOURS = np.array([(220, 40, 40), (40, 180, 60), (40, 70, 220), (200, 40, 200)], np.float64)
_WORDS = ("thunderstorm", "guitar", "rocket", "strawberries")
_FILLER = [
    "a",
    "the",
    "some",
    "photo",
    "of",
    "with",
    "near",
    "at",
    "and",
    "one",
    "there",
    "is",
    "person",
    "place",
    "day",
]


@dataclass(frozen=True)
class Planted:
    """Which columns of the labels each modality shows."""

    manifest: Path

    @staticmethod
    def columns(modality: str) -> list[int]:
        start = MODALITIES.index(modality) * len(PREVALENCE)
        return list(range(start, start + len(PREVALENCE)))


def plant(root: Path, seed: int = 0) -> Planted:
    """Write the photos and ``planted.jsonl``."""
    rng = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    lines = ["# " + json.dumps({"labels": [*LABELS, "none"], "multi_label": True})]
    for split, count in SPLITS.items():
        for number in range(count):
            there = rng.random(len(LABELS)) < np.tile(PREVALENCE, len(MODALITIES))
            shown = np.where(there, rng.random(len(LABELS)) >= MISSED, rng.random(len(LABELS)) < IMAGINED)
            context, body, text = shown.reshape(len(MODALITIES), -1)
            image, box = _photo(context, body, rng)
            name = f"images/{split}-{number}.bmp"  # noise would only take time to compress
            Image.fromarray(image).save(root / name)
            row = {"id": f"{split}-{number}", "split": split, "image": name}
            row |= dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))
            if rng.random() >= WITHOUT_TEXT:
                row["text"] = _text(text, rng)
            row["labels"] = [label for label, here in zip(LABELS, there, strict=True) if here] or ["none"]
            lines.append(json.dumps(row))
    manifest = root / "planted.jsonl"
    manifest.write_text("\n".join(lines) + "\n")
    return Planted(manifest)


def _photo(
    context: npt.NDArray[np.bool_], body: npt.NDArray[np.bool_], rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], tuple[int, int, int, int]]:
    pixels = np.full((SIDE, SIDE, 3), rng.uniform(110, 145))
    quarters = rng.permutation(4)
    for category in np.flatnonzero(context):
        y, x = 128 * (quarters[category] // 2) + 14, 128 * (quarters[category] % 2) + 14
        pixels[y : y + 100, x : x + 100] = _COLOURS[category]
    left, top = (4 * rng.integers(0, (SIDE - BOX) // 4, 2)).tolist()
    pixels[top : top + BOX, left : left + BOX] = _stripes(body, rng)
    pixels += 8 * rng.standard_normal(pixels.shape, np.float32)
    return pixels.clip(0, 255).astype(np.uint8), (left, top, left + BOX, top + BOX)


def _stripes(body: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A quarter of the box for each category, striped where it is there."""
    pixels = np.full((BOX, BOX, 3), 127.5)
    light = np.arange(BOX // 2) % 2 == rng.integers(2)  # a line of a colour, a line of its complement
    half = np.where(light[:, None, None], 1.0, -1.0) * np.ones((1, BOX // 2, 1))
    quarters = rng.permutation(4)
    for category in np.flatnonzero(body):
        y, x = BOX // 2 * (quarters[category] // 2), BOX // 2 * (quarters[category] % 2)
        pattern = half if category % 2 else half.transpose(1, 0, 2)
        pixels[y : y + BOX // 2, x : x + BOX // 2] += pattern * (_COLOURS[category] - 127.5)
    return pixels


def _text(shown: npt.NDArray[np.bool_], rng: np.random.Generator) -> str:
    words = [_WORDS[category] for category in np.flatnonzero(shown)]
    words += rng.choice(_FILLER, size=6).tolist()
    return " ".join(rng.permutation(words))

"""Two small datasets whose names, captions, labels, ids and groups were written by somebody with a plan."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from support.hostile import HOSTILE

TEXTS = [text for text in HOSTILE if text.strip() and "\ud800" not in text]
LABELS = ["[red]joy\x1b[31m", "=fear|<b>", "[x](javascript:alert(1))\u202e"]
NAME = "=a[red]<img src=x onerror=alert(1)>\x1b[2J`\u202e|"
"""Of both manifests, and so of both datasets."""


def write_people(root: Path) -> Path:
    """An emotion dataset, with rows that are refused, and a group in two splits."""
    rows = []
    for number, split in enumerate(["train"] * 20 + ["val"] * 8 + ["test"] * 8):
        text = TEXTS[number % len(TEXTS)]
        rows.append(
            {
                "id": f"{text} {number}",
                "split": split,
                "image": _photo(root, f"{number}{text}"),
                "text": text,
                "labels": [LABELS[number % 3]],
                "group": f"{text}",
                "Gender": LABELS[number % 2],
            }
        )
    wrong = {"split": "train", "labels": ["unknown\n" + LABELS[0]]}
    rows += [wrong | {"id": f"{text} wrong", "image": f"missing {text}"} for text in TEXTS]
    return _written(root, rows)


def write_photos(root: Path) -> Path:
    """A captioned dataset."""
    rows = []
    for number, split in enumerate(["train"] * 24 + ["val"] * 8 + ["test"] * 8):
        text = TEXTS[number % len(TEXTS)]
        name = _photo(root, f"{text}{number}")
        rows.append(
            {"id": f"{text} {number}", "split": split, "image": name, "text": [text, f"{number} dogs"]}
        )
    broken = _photo(root, f"broken {LABELS[0]}")
    (root / broken).write_bytes(b"no picture")
    rows.append({"id": "@broken\x1b[2J", "split": "train", "image": broken, "text": "a"})
    return _written(root, rows)


def _photo(root: Path, text: str) -> str:
    name = f"{text}.png".replace("/", "_").replace("\\", "_")
    pixels = np.random.default_rng(len(list(root.iterdir()))).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / name, format="PNG")
    return name


def _written(root: Path, rows: list[dict[str, object]]) -> Path:
    path = root / f"{NAME}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path

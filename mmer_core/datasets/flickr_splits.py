"""Which photo of Flickr8k belongs to which split, by protocol."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from mmer_core.datasets.flickr_captions import KARPATHY_FILE, Caption, read_json
from mmer_core.datasets.layout import find_file
from mmer_core.errors import DatasetError

LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "val": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
NOTEBOOK_SEED = 42
NOTEBOOK_TOKENS = 3
"""The notebooks dropped captions with fewer words than this."""

Assignment = dict[str, str]
"""Photo name to split name."""


def assign(root: Path, captions: Iterable[Caption], protocol: str) -> Assignment:
    """Splits of a protocol: ``official``, ``karpathy`` or ``notebook``.

    Raises:
        DatasetError: The files that the protocol needs are missing, or a photo is in two splits.
    """
    return _PROTOCOLS[protocol](root, captions)


def too_short(text: str) -> bool:
    """Whether the notebooks dropped this caption."""
    return len(re.findall(r"\w+", text)) < NOTEBOOK_TOKENS


def _official(root: Path, _captions: Iterable[Caption]) -> Assignment:
    found = {split: path for split, name in LISTS.items() if (path := find_file(root, name))}
    if not found:
        raise DatasetError(f"{root} holds no split list: add {', '.join(LISTS.values())}")
    assignment: Assignment = {}
    twice = []
    for split, path in found.items():
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        for number, line in enumerate(lines, 1):
            photo = line.strip()
            if photo and assignment.setdefault(photo, split) != split:
                twice.append(f"line {number} of {path.name} ({photo}, in {assignment[photo]} too)")
    if twice:
        raise DatasetError(f"photos of {root} are in two splits: {', '.join(twice)}; keep each in one")
    return assignment


def _karpathy(root: Path, _captions: Iterable[Caption]) -> Assignment:
    path = find_file(root, KARPATHY_FILE)
    if path is None:
        raise DatasetError(f"{root} holds no {KARPATHY_FILE}: add it, or choose the official splits")
    return {str(image["filename"]): str(image["split"]) for image in read_json(path)}


def _notebook(_root: Path, captions: Iterable[Caption]) -> Assignment:
    """70/15/15 by photo, in the shuffled order of first mention; what rounding leaves goes to test."""
    photos = list(dict.fromkeys(caption.photo for caption in captions))
    order = np.random.RandomState(NOTEBOOK_SEED).permutation(len(photos))
    train, val = int(0.70 * len(photos)), int(0.15 * len(photos))
    bounds = {"train": order[:train], "val": order[train : train + val], "test": order[train + val :]}
    return {photos[row]: split for split, rows in bounds.items() for row in rows}


_PROTOCOLS: dict[str, Callable[[Path, Iterable[Caption]], Assignment]] = {
    "official": _official,
    "karpathy": _karpathy,
    "notebook": _notebook,
}

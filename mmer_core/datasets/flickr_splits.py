"""Which photo of Flickr8k belongs to which split, by protocol."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from mmer_core.datasets.flickr_captions import KARPATHY_FILE, Caption, image_fault, read_json
from mmer_core.datasets.layout import find_file
from mmer_core.errors import DatasetError
from mmer_core.text_lines import read_lines

LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "val": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
NOTEBOOK_SEED = 42
NOTEBOOK_TOKENS = 3
"""The notebooks dropped captions with fewer words than this."""


class Assignment(dict[str, str]):
    """Photo name to split name; ``faults`` explains for a photo why its split is ambiguous."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[str, str] = {}

    def put(self, photo: str, split: str, where: str) -> None:
        """Assign a photo, which must not have another split already."""
        if self.setdefault(photo, split) != split:
            self.faults[photo] = f"{where} ({photo}, in {self[photo]} too); keep each in one"

    def checked(self, root: Path) -> "Assignment":
        """Return self. Raises `DatasetError` if no photo has a split."""
        if self and len(self.faults) == len(self):
            raise DatasetError(
                f"photos of {root} are in two splits: {'; '.join(list(self.faults.values())[:5])}"
            )
        return self


def assign(root: Path, captions: Iterable[Caption], protocol: str) -> Assignment:
    """Splits of a protocol: ``official``, ``karpathy`` or ``notebook``.

    Raises:
        DatasetError: The files of the protocol are missing, or every photo is in two splits.
    """
    return _PROTOCOLS[protocol](root, captions)


def too_short(text: str) -> bool:
    """Whether the notebooks dropped this caption."""
    return len(re.findall(r"\w+", text)) < NOTEBOOK_TOKENS


def _official(root: Path, _captions: Iterable[Caption]) -> Assignment:
    found = {split: path for split, name in LISTS.items() if (path := find_file(root, name))}
    if not found:
        raise DatasetError(f"{root} holds no split list: add {', '.join(LISTS.values())}")
    assignment = Assignment()
    for split, path in found.items():
        try:
            lines = read_lines(path).lines
        except OSError as error:
            raise DatasetError(f"cannot read {path}: {error.strerror or error}; make it readable") from None
        for number, line in enumerate(lines, 1):
            if photo := line.strip():
                assignment.put(photo, split, f"line {number} of {path.name}")
    return assignment.checked(root)


def _karpathy(root: Path, _captions: Iterable[Caption]) -> Assignment:
    path = find_file(root, KARPATHY_FILE)
    if path is None:
        raise DatasetError(f"{root} holds no {KARPATHY_FILE}: add it, or choose the official splits")
    assignment = Assignment()
    for place, image in enumerate(read_json(path)[0]):
        if not image_fault(image):
            assignment.put(image["filename"], image["split"], f"image {place} of {path.name}")
    return assignment.checked(root)


def _notebook(_root: Path, captions: Iterable[Caption]) -> Assignment:
    """70/15/15 by photo, in the shuffled order of first mention; test gets the remainder of rounding."""
    import numpy as np

    photos = list(dict.fromkeys(caption.photo for caption in captions if not caption.problem))
    order = np.random.RandomState(NOTEBOOK_SEED).permutation(len(photos))
    train, val = int(0.70 * len(photos)), int(0.15 * len(photos))
    bounds = {"train": order[:train], "val": order[train : train + val], "test": order[train + val :]}
    assignment = Assignment()
    assignment.update({photos[row]: split for split, rows in bounds.items() for row in rows})
    return assignment


_PROTOCOLS: dict[str, Callable[[Path, Iterable[Caption]], Assignment]] = {
    "official": _official,
    "karpathy": _karpathy,
    "notebook": _notebook,
}

"""An index that was added to and deleted from, without building it again.

Its folder holds the folders of what it is made of, ``parts/0000``, ``parts/0001``, …, each a built index by itself, and
by target ``dropped_<target>.npy``: the rows that are not there any more, in ascending order, counted through the
parts. A search asks every part and drops what is dropped, so that each change costs searches a little; building
the index again from what is left (compaction) wins that back.

Rows of every version also know where they came from: ``origin_<target>.npy`` has, for each, its row among all rows of
the index's sources, the prepared splits that it was embedded from. A folder without it has all of them, in order.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

Target = Literal["image", "text"]
Rows = npt.NDArray[np.int64]

TARGETS: tuple[Target, ...] = ("image", "text")
_PARTS = "parts"


def part_folders(folder: Path) -> list[Path]:
    """The built indexes that an index is made of, in the order of their rows."""
    parts = folder / _PARTS
    return sorted(parts.glob("[0-9]*")) if parts.is_dir() else [folder]


def dropped_rows(folder: Path, target: Target) -> Rows:
    """Rows that are not there any more."""
    file = folder / f"dropped_{target}.npy"
    return np.load(file, allow_pickle=False) if file.exists() else np.empty(0, np.int64)


def live_rows(folder: Path, target: Target, count: int) -> npt.NDArray[np.bool_] | None:
    """``(count,)`` which rows are there; None when all of them are."""
    dropped = dropped_rows(folder, target)
    if not len(dropped):
        return None
    live = np.ones(count, dtype=bool)
    live[dropped] = False
    return live


def origins(folder: Path, target: Target, count: int) -> Rows:
    """``(count,)`` where each row stands among the rows of the index's sources."""
    file = folder / f"origin_{target}.npy"
    return np.load(file, mmap_mode="r", allow_pickle=False) if file.exists() else np.arange(count)


def write_version(
    out: Path, folders: Sequence[Path], dropped: Mapping[Target, Rows], origin: Mapping[Target, Rows]
) -> None:
    """Write an index that is made of the parts of others.

    Files are linked where the disk allows it, for they never change.
    """
    parts = [part for folder in folders for part in part_folders(folder)]
    for place, part in enumerate(parts):
        target = out / _PARTS / f"{place:04d}"
        target.mkdir(parents=True)
        for file in sorted(part.iterdir()):
            if file.is_file() and not file.name.startswith("origin_"):
                _link(file, target / file.name)
    for name in TARGETS:
        np.save(out / f"dropped_{name}.npy", np.sort(dropped[name]), allow_pickle=False)
        np.save(out / f"origin_{name}.npy", origin[name], allow_pickle=False)


def _link(file: Path, name: Path) -> None:
    try:
        os.link(file.resolve(), name)
    except OSError:
        shutil.copyfile(file, name)

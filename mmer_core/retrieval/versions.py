"""An index with additions and deletions, without rebuilding it.

Its folder holds the folders of its parts, ``parts/0000``, ``parts/0001``, …, each an index of its own, and
``dropped_<target>.npy`` for each target: the deleted rows in ascending order, numbered globally across the parts. A
search queries every part and drops deleted rows, so each change makes searches slightly slower; rebuilding the index
from the remaining rows (compaction) restores the speed.

Every version also records the origin of its rows: ``origin_<target>.npy`` has, for each row, its number among all rows of
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
    """The indexes that an index consists of, in row order."""
    parts = folder / _PARTS
    return sorted(parts.glob("[0-9]*")) if parts.is_dir() else [folder]


def dropped_rows(folder: Path, target: Target) -> Rows:
    """The deleted rows."""
    file = folder / f"dropped_{target}.npy"
    return np.load(file, allow_pickle=False) if file.exists() else np.empty(0, np.int64)


def live_rows(folder: Path, target: Target, count: int) -> npt.NDArray[np.bool_] | None:
    """``(count,)`` bool: which rows are not deleted; None if all are live."""
    dropped = dropped_rows(folder, target)
    if not len(dropped):
        return None
    live = np.ones(count, dtype=bool)
    live[dropped] = False
    return live


def origins(folder: Path, target: Target, count: int) -> Rows:
    """``(count,)`` number of each row among the rows of the index's sources."""
    file = folder / f"origin_{target}.npy"
    return np.load(file, mmap_mode="r", allow_pickle=False) if file.exists() else np.arange(count)


def write_version(
    out: Path, folders: Sequence[Path], dropped: Mapping[Target, Rows], origin: Mapping[Target, Rows]
) -> None:
    """Write an index that consists of the parts of others.

    Files are hard-linked if the file system allows it, because they never change.
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

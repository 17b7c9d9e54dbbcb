"""Long computations of rows, kept in steps: a killed one goes on from the last step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmer_core.files import write_whole
from mmer_core.progress import Progress, silent
from mmer_core.usage import leg

SECONDS = 15.0
"""Least time between two steps: a run that is killed loses that much and one batch."""


@dataclass(frozen=True)
class Steps:
    """Computes rows batch by batch, and keeps them.

    Args:
        folder: Holds finished rows as ``<first row>.npy``, each file complete and on disk before it has its name. It must
            belong to this one computation. Nothing is kept without it.
        progress: Gets the number of finished rows after every batch.
    """

    folder: Path | None = None
    progress: Progress = silent
    note: str = ""

    def rows(
        self, count: int, width: int, batch: int, compute: Callable[[int, int], npt.NDArray[np.float32]]
    ) -> npt.NDArray[np.float32]:
        """``(count, width)`` float32, from ``compute(start, stop)`` for each batch of rows.

        Batches begin at the same rows whether a run was killed or not, so that its rows are the same bit for bit.
        """
        rows = np.empty((count, width), np.float32)
        kept = self._kept(rows) // batch * batch
        kept_at = time.monotonic()
        for start in range(kept, count, batch):
            stop = min(start + batch, count)
            rows[start:stop] = compute(start, stop)
            if self.folder and stop < count and time.monotonic() - kept_at >= SECONDS:
                self._keep(rows, kept, stop)
                kept, kept_at = stop, time.monotonic()
            self.progress(stop, count, self.note)
        return rows

    def part(self, start: int, count: int, total: int) -> Steps:
        """The steps of ``count`` rows from ``start`` on, of ``total`` that are computed one part after another."""
        folder = self.folder / f"part-{start:010d}" if self.folder else None
        if folder:
            folder.mkdir(exist_ok=True)

        whole = total

        def progress(done: float, total: int, note: str = "") -> None:
            self.progress(start + round(count * done / total), whole, note)

        return Steps(folder, progress, self.note)

    def _keep(self, rows: npt.NDArray[np.float32], start: int, stop: int) -> None:
        assert self.folder
        file = BytesIO()
        np.save(file, rows[start:stop], allow_pickle=False)
        with leg("write"):
            write_whole(self.folder / f"{start:010d}.npy", file.getvalue())

    def _kept(self, rows: npt.NDArray[np.float32]) -> int:
        """Fill in the rows of an earlier run; how many there are."""
        there = 0
        for path in sorted(self.folder.glob("*.npy")) if self.folder else ():
            part = np.load(path, allow_pickle=False)
            start = int(path.stem)
            rows[start : start + len(part)] = part
            there = start + len(part)
        return there

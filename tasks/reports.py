"""How far running shards are, whatever engine runs them on this machine: each writes it into a file.

A shard on another machine finds no folder to write into, and reports to its own log only.
"""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mmer_core.progress import Progress

_SECONDS_BETWEEN_REPORTS = 0.5


@dataclass(frozen=True)
class Reports:
    """A folder with a file for each shard that has begun."""

    folder: Path

    def place(self, number: int) -> Path:
        """The file of a shard."""
        return self.folder / f"{number}.json"

    def so_far(self, numbers: Iterable[int]) -> tuple[float, str]:
        """Of some shards, how many are done: the sum of their finished parts; and what the furthest one says."""
        found = [report for number in numbers if (report := _read(self.place(number)))]
        return round(sum(part for part, _ in found), 2), max(found, default=(0.0, ""))[1]


@contextmanager
def reports() -> Iterator[Reports]:
    """Reports of shards that end with the block."""
    with TemporaryDirectory(prefix="mmer-progress-", ignore_cleanup_errors=True) as folder:
        yield Reports(Path(folder))


def report_to(place: Path) -> Progress:
    """A progress callback that writes into a shard's file, and never fails."""
    temporary, last = place.with_suffix(".tmp"), float("-inf")

    def report(done: float, total: int, note: str = "") -> None:
        nonlocal last
        if (now := time.monotonic()) - last < _SECONDS_BETWEEN_REPORTS:
            return
        last = now
        with suppress(OSError):
            temporary.write_text(
                json.dumps([done / max(total, 1), f"{done:.10g} of {total} {note}".rstrip()])
            )
            temporary.replace(place)

    return report


def _read(place: Path) -> tuple[float, str] | None:
    with suppress(OSError):
        part, note = json.loads(place.read_text())
        return part, note
    return None

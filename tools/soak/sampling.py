"""Memory, file handles, disk and rows of a database, sampled every few seconds."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tools.soak.trends import Bound, Figure

_MIB = 2**20
_WATCHED = ("server", "worker", "service", "loop")
_MEMORY, _HANDLES = Bound(15, 0.05), Bound(3, 0.05)
_DISK, _ROWS = Bound(5, 0.1), Bound(200, 0.05)

FIGURES = (
    *(Figure(f"memory of the {name}", "MiB", _MEMORY) for name in _WATCHED),
    *(Figure(f"handles of the {name}", "", _HANDLES) for name in _WATCHED),
    Figure("store", "MiB", _DISK),
    Figure("work folder", "MiB", _DISK),
    Figure("database", "MiB", _DISK),
    Figure("rows of the database", "", _ROWS),
)


@dataclass(frozen=True)
class Watched:
    """What is sampled.

    Attributes:
        processes: By the names of the figures; each with all processes below it.
        alone: Of them, those whose children are not counted: they are other work.
    """

    processes: Mapping[str, int]
    alone: frozenset[str]
    store: Path
    work: Path
    database: Path

    def sample(self) -> dict[str, float]:
        """Every figure now."""
        found: dict[str, float] = {}
        for name, pid in self.processes.items():
            family = _family(pid, below=name not in self.alone)
            found[f"memory of the {name}"] = (
                sum(_asked(one, lambda one: one.memory_info().rss) for one in family) / _MIB
            )
            found[f"handles of the {name}"] = sum(_asked(one, psutil.Process.num_fds) for one in family)
        found["store"] = bytes_in(self.store) / _MIB
        found["work folder"] = bytes_in(self.work) / _MIB
        found["database"] = (
            sum(_size(path) for path in self.database.parent.glob(f"{self.database.name}*")) / _MIB
        )
        found["rows of the database"] = sum(rows(self.database).values())
        return found


@dataclass
class Samples:
    """Figures by name, and the hours since the start at which they were sampled."""

    hours: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=lambda: {figure.name: [] for figure in FIGURES})

    def since(self, hour: float) -> "Samples":
        """Those from a time on."""
        first = next((place for place, at in enumerate(self.hours) if at >= hour), len(self.hours))
        return Samples(self.hours[first:], {name: seen[first:] for name, seen in self.values.items()})


@contextmanager
def sampled(watched: Watched, seconds: float) -> Iterator[Samples]:
    """Sample until the block ends; a sample that fails ends nothing, and is left out."""
    samples, over, start = Samples(), threading.Event(), time.monotonic()

    def run() -> None:
        while not over.wait(seconds):
            with suppress(psutil.Error, sqlite3.Error, OSError):
                found = watched.sample()
                samples.hours.append((time.monotonic() - start) / 3600)
                for name, value in found.items():
                    samples.values[name].append(value)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def rows(database: Path) -> dict[str, int]:
    """Rows of every table of an SQLite database."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)) as connection:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}


def bytes_in(folder: Path) -> int:
    """Bytes that files below a folder take on disk; what has several names counts once."""
    found: dict[int, int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = os.lstat(os.path.join(place, name))
                found[status.st_ino] = status.st_blocks * 512
    return sum(found.values())


def _family(pid: int, *, below: bool) -> list[psutil.Process]:
    first = psutil.Process(pid)
    return [first, *(first.children(recursive=True) if below else ())]


def _asked(process: psutil.Process, figure: Callable[[psutil.Process], float]) -> float:
    """A figure of a process; 0 where it has just ended."""
    with suppress(psutil.NoSuchProcess):
        return float(figure(process))
    return 0.0


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0

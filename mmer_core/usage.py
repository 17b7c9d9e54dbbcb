"""The cost of work: seconds by leg (read, model, write), CPU, memory and bytes."""

import os
import resource
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field

Leg = Literal["read", "model", "write", "other"]

LEGS: tuple[Leg, ...] = get_args(Leg)
_SAMPLING_SECONDS = 0.02
_PAGE = resource.getpagesize()
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes per unit of ru_maxrss


class Usage(BaseModel):
    """The cost of a piece of work; CPU, memory and bytes are those of the whole process during that time.

    They therefore include whatever other threads did meanwhile.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: dict[str, float] = Field({}, description="Wall time by leg: read, model, write, other.")
    cpu_seconds: float = Field(description="CPU time of all threads, in user and system mode.")
    peak_memory: int = Field(description="Peak resident memory in bytes, sampled 50 times a second.")
    bytes_read: int | None = Field(description="Through read calls, without memory maps; None if unknown.")
    bytes_written: int | None = Field(description="Through write calls; None if unknown.")
    bytes_fetched: int | None = Field(
        None,
        description="From a store on S3, by the stage's own thread; None in manifests of layout 4 and before.",
    )

    @property
    def wall_seconds(self) -> float:
        """The sum over all legs."""
        return sum(self.seconds.values())

    @property
    def sentence(self) -> str:
        """For people: ``read 0.1 s, model 2.0 s, other 0.2 s; CPU 3.1 s, memory up to 410 MB, ...``."""
        legs = [f"{leg} {self.seconds[leg]:.1f} s" for leg in LEGS if self.seconds.get(leg, 0.0) >= 0.05]
        parts = [f"CPU {self.cpu_seconds:.1f} s", f"memory up to {_megabytes(self.peak_memory)}"]
        if self.bytes_read is not None and self.bytes_written is not None:
            parts += [f"{_megabytes(self.bytes_read)} read", f"{_megabytes(self.bytes_written)} written"]
        if self.bytes_fetched:
            parts.append(f"{_megabytes(self.bytes_fetched)} fetched")
        return "; ".join(filter(None, [", ".join(legs), ", ".join(parts)]))


class Meter:
    """Measures from its creation to `usage`; `leg` attributes the time of its thread."""

    def __init__(self) -> None:
        self.fetched = 0
        self._leg: Leg = "other"
        self._since = time.perf_counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._cpu, self._io = _cpu_seconds(), _bytes_moved()
        self._peak = _resident()
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="mmer memory", daemon=True).start()

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
        self._over.set()

    def switch(self, leg: Leg) -> Leg:
        """Attribute the time from now on to this leg; return the previous leg."""
        before, now = self._leg, time.perf_counter()
        self._seconds[before] += now - self._since
        self._leg, self._since = leg, now
        return before

    def usage(self) -> Usage:
        """The cost so far."""
        self.switch(self._leg)
        self._peak = max(self._peak, _resident())
        moved = _bytes_moved()
        read, written = (
            (None, None)
            if moved is None or self._io is None
            else (moved[0] - self._io[0], moved[1] - self._io[1])
        )
        return Usage(
            seconds={leg: round(value, 4) for leg, value in sorted(self._seconds.items())},
            cpu_seconds=round(_cpu_seconds() - self._cpu, 3),
            peak_memory=self._peak,
            bytes_read=read,
            bytes_written=written,
            bytes_fetched=self.fetched,
        )

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLING_SECONDS):
            self._peak = max(self._peak, _resident())


_current: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def leg(name: Leg) -> Iterator[None]:
    """Attribute the block's time to a leg of the stage that runs in this thread, if any. Legs may be nested."""
    meter = _current.get()
    if meter is None:
        yield
        return
    before = meter.switch(name)
    try:
        yield
    finally:
        meter.switch(before)


def count_fetched(size: int) -> None:
    """Attribute so many bytes from a store elsewhere to the stage that runs in this thread, if any."""
    if meter := _current.get():
        meter.fetched += size


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _resident() -> int:
    """Resident memory in bytes; the peak so far if the system does not report the current value."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT


def _bytes_moved() -> tuple[int, int] | None:
    """Bytes read and written so far, on any device or network; None if the system does not report them."""
    with suppress(OSError):
        fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(fields["rchar"]), int(fields["wchar"])
    return None


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count >= 10e6 else f"{count / 1e6:.1f} MB"

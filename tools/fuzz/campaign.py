"""Inputs for workers, and what comes of them."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tools.fuzz.mutations import mutated
from tools.fuzz.seeds import SEEDS, Seed

MEMORY_BOUND = 2**30
"""Bytes by which reading one input may make a worker grow."""
SECONDS_BOUND = 150.0
"""Wall time of one input: a child that reads has 120 s, on a busy machine too."""


@dataclass
class Tally:
    """What became of the inputs of a reader; ``violations`` are sentences with the folder of the input."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    crashed: int = 0
    raised: int = 0
    worst_memory: int = 0
    worst_seconds: float = 0.0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)


class _Worker:
    """A process that reads one input after the other, and is started again when it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def read(self, reader: str, folder: Path) -> tuple[str, str, int]:
        """Outcome, its words, and bytes of memory."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([reader, str(folder)]) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], SECONDS_BOUND)
        if not ready:
            self.end()
            return "crashed", f"no answer after {SECONDS_BOUND:.0f} s", 0
        answer = process.stdout.readline()
        if answer:
            outcome, detail, grown = json.loads(answer)
            return outcome, detail, grown
        code = process.wait()
        self.end()
        return "crashed", signal.Signals(-code).name if code < 0 else f"exit code {code}", 0

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tools.fuzz.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
        return self._process


def run(
    readers: Sequence[str], folder: Path, *, seed: int, seconds: float, inputs: int | None = None
) -> dict[str, Tally]:
    """Read sound inputs, then spoilt ones, and look at what happens.

    Args:
        folder: Receives the inputs; those that violate a rule stay there.
        seconds: In all; readers get equal shares of them.
        inputs: Spoilt ones for each reader, in place of a time.
    """
    end = time.monotonic() + seconds
    seeds = {name: list(SEEDS[name]()) for name in readers}
    tallies = {name: Tally() for name in readers}
    worker = _Worker()
    try:
        for name in readers:
            # The first is read twice: libraries that are imported by it take memory and time of their own.
            warming = Tally()
            for number, sound in enumerate([seeds[name][0], *seeds[name]]):
                place = folder / f"{_folder(name)}-sound-{number}"
                _try(worker, name, sound.files, place, tallies[name] if number else warming, sound=True)
        number = 0
        while time.monotonic() < end if inputs is None else number < inputs * len(readers):
            by_time = min(readers, key=lambda name: tallies[name].seconds)
            name = by_time if inputs is None else readers[number % len(readers)]
            random = Random(f"{seed} {name} {tallies[name].inputs}")
            files = _spoilt(random.choice(seeds[name]), seeds[name], random)
            _try(
                worker, name, files, folder / f"{_folder(name)}-{seed}-{tallies[name].inputs}", tallies[name]
            )
            number += 1
    finally:
        worker.end()
    return tallies


def _folder(name: str) -> str:
    return name.replace(" ", "-")


def _spoilt(chosen: Seed, seeds: Sequence[Seed], random: Random) -> dict[str, bytes]:
    target = random.choice(chosen.targets)
    others = [one.files[name] for one in seeds for name in one.targets]
    data = mutated(chosen.files[target], others, random)
    if chosen.seal is not None and (target.endswith(".tgz") or random.random() < 0.7):
        data = chosen.seal(data)
    return chosen.files | {target: data}


def _try(
    worker: _Worker, name: str, files: dict[str, bytes], folder: Path, tally: Tally, *, sound: bool = False
) -> None:
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
    begun = time.monotonic()
    outcome, detail, grown = worker.read(name, folder)
    took = time.monotonic() - begun
    tally.inputs += 1
    tally.seconds += took
    tally.worst_seconds = max(tally.worst_seconds, took)
    tally.worst_memory = max(tally.worst_memory, grown)
    setattr(tally, outcome, getattr(tally, outcome) + 1)
    violation = _violation(outcome, detail, grown, sound=sound and name != "images")
    if violation:
        tally.violations.append(f"{folder}: {violation}")
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _violation(outcome: str, detail: str, grown: int, *, sound: bool) -> str:
    if outcome in ("crashed", "raised"):
        return f"{outcome}: {detail}"
    if grown > MEMORY_BOUND:
        return f"took {grown // 2**20} MB"
    if outcome == "refused" and ("\n" in detail or "Traceback" in detail or not detail):
        return f"refused in no sentence: {detail!r}"
    return f"a sound input was {outcome}: {detail}" if sound and outcome != "accepted" else ""

"""How time and memory grow with the data, for every analysis and every stage.

    python -m benchmarks.growth --json FILE

Each analysis runs on drawn arrays of three sizes, each size in a process of its own; the stages run in whole jobs on drawn
datasets of three sizes, and are read from their manifests. Time is CPU time of one thread, the least of three runs where
an exponent is above the bound, since other programs of the machine add to it; memory is
what a process held at most, less what it held before, without mapped files; that of stages is all that was resident.

If a cost is a constant plus a power of the size, and sizes grow by a factor f, differences of costs grow by f to the exponent:
``log((c3 - c2) / (c2 - c1)) / log(f)``. So fixed costs, which rule small sizes, do not hide what grows. Where the largest size
costs less than a floor more than the smallest (half a second; 32 MiB, or 256 of stages), nothing grows that could be measured: the exponent is 0.
An exponent of at most 1.2 is asked for, and 0.15 more is allowed for noise: errors of 3 % in the costs move the exponent
of a doubling by as much. The program ends with exit code 1 where one is above.
"""

import math
import multiprocessing
import re
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from cyclopts import App
from threadpoolctl import threadpool_limits

from benchmarks.growth_cases import ANALYSES, Analysis
from benchmarks.growth_jobs import run_jobs
from benchmarks.result import finish, joined, kept_rows, run_app
from flows.output import say

app = App(name="benchmarks.growth", help=__doc__)

BOUND, NOISE = 1.2, 0.15
_AGAIN = 2
SECONDS, MEBIBYTES = 0.5, 32.0
RESIDENT = 256.0
"""MiB of the stages: one process makes all of a size, one after the other, and keeps encoders and what was imported."""
PHOTOS = (400, 800, 1_600)


NARROW = ("model", "probe")
"""Stages that are shown and not judged: the axes of the linear probe cost the third power of the samples until there are as many as
features, which is above these sizes; the analyses ``linear probe`` and ``training of labels`` are judged beyond."""


class Cost(NamedTuple):
    """CPU seconds and MiB."""

    seconds: float
    memory: float


@app.default
@threadpool_limits.wrap(limits=1)
def main(
    *,
    analyses: str = "",
    photos: tuple[int, int, int] = PHOTOS,
    jobs: bool = True,
    json: Path | None = None,
) -> None:
    """Print the exponents and fail above the bound.

    Parameters
    ----------
    analyses:
        Regular expression for names of analyses; all by default.
    photos:
        Photos of the drawn datasets.
    jobs:
        Run the jobs as well.
    json:
        File for the figures; rows of the same machine that it has already, and that are not measured now, stay.
    """
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for analysis in ANALYSES:
        if re.search(analyses, analysis.name):
            costs = [_apart(partial(_measured, analysis, size)) for size in analysis.sizes]
            for _ in range(_AGAIN):
                if not _above(_row(analysis.name, analysis.sizes, costs)):
                    break
                costs = [
                    Cost(*map(min, cost, _apart(partial(_measured, analysis, size))))
                    for cost, size in zip(costs, analysis.sizes, strict=True)
                ]
            rows.append(_row(analysis.name, analysis.sizes, costs))
            say(f"{rows[-1]}")
    if jobs:
        rows += _stages(photos)
    finish("growth", joined(kept_rows("growth", json), rows, "what"), {}, json)
    above = [row["what"] for row in rows if _above(row) and row["what"] not in NARROW]
    if above:
        raise SystemExit(f"grows faster than n^{BOUND}, with {NOISE} allowed for noise: {', '.join(above)}")


def exponent(sizes: Sequence[int], costs: Sequence[float], floor: float) -> float:
    """Of the part of a cost that grows, for three sizes with equal ratios; 0 where less than ``floor`` grows."""
    first, second, third = costs
    if third - first < floor:
        return 0.0
    ratio = (third - second) / max(second - first, 1e-9)
    # Nothing between the first two sizes: the power that would hide so small a step.
    ratio = min(ratio, third / max(second, 1e-9) if second - first < floor / 10 else ratio)
    return max(0.0, math.log(max(ratio, 1e-9)) / math.log(sizes[1] / sizes[0]))


def _row(
    what: str, sizes: Sequence[int], costs: Sequence[Cost], mebibytes: float = MEBIBYTES
) -> dict[str, Any]:
    return {
        "what": what,
        "sizes": " ".join(f"{size:,}" for size in sizes),
        "CPU s": " ".join(f"{cost.seconds:.2f}" for cost in costs),
        "MiB": " ".join(f"{cost.memory:.0f}" for cost in costs),
        "time n^": round(exponent(sizes, [cost.seconds for cost in costs], SECONDS), 2),
        "memory n^": round(exponent(sizes, [cost.memory for cost in costs], mebibytes), 2),
    }


def _above(row: dict[str, Any]) -> bool:
    return max(row["time n^"], row["memory n^"]) > BOUND + NOISE


def _apart(run: Callable[[], Any]) -> Any:
    """The result of a function in a forked process, which has imported everything and holds nothing."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=lambda: theirs.send(run()))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise SystemExit("a measurement failed; its error stands above") from None
    finally:
        process.join()


def _measured(analysis: Analysis, size: int) -> Cost:
    run = analysis.prepare(size)
    before, peak, over = _held(), [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            peak[0] = max(peak[0], _held())

    watching = threading.Thread(target=watch)
    watching.start()
    start = time.process_time()
    run()
    seconds = time.process_time() - start
    over.set()
    watching.join()
    return Cost(seconds, max(0.0, peak[0] - before))


def _held() -> float:
    """MiB of the process's own; pages of mapped files, which the kernel takes back when it needs room, are not counted."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 2**10


def _stages(photos: Sequence[int]) -> list[dict[str, Any]]:
    """Rows of the stages; measured again, as the analyses are, where one that is judged is above the bound."""
    costs = _made(photos)
    for _ in range(_AGAIN):
        rows = _rows_of_stages(photos, costs)
        if not any(_above(row) for row in rows if row["what"] not in NARROW):
            break
        again = _made(photos)
        costs = {
            kind: [Cost(*map(min, *pair)) for pair in zip(costs[kind], again[kind], strict=True)]
            for kind in costs.keys() & again.keys()
        }
    return _rows_of_stages(photos, costs)


def _made(photos: Sequence[int]) -> dict[str, list[Cost]]:
    """By kind of artifact, what all of that kind cost with so many photos each."""
    by_kind: dict[str, list[Cost]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for count in photos:
            made = _apart(partial(run_jobs, Path(folder) / str(count), count))
            for kind, (seconds, memory) in made.items():
                by_kind[kind].append(Cost(seconds, memory))
    return by_kind


def _rows_of_stages(photos: Sequence[int], by_kind: Mapping[str, Sequence[Cost]]) -> list[dict[str, Any]]:
    return [
        _row(kind, photos, costs, RESIDENT)
        for kind, costs in sorted(by_kind.items())
        if len(costs) == len(photos)
    ]


if __name__ == "__main__":
    if not sys.platform.startswith("linux"):
        raise SystemExit("peaks of memory are read from /proc: run this on Linux")
    run_app(app)

"""Harm a small pipeline at random, run it again, and compare what comes out with what an undisturbed run made.

    PYTHONPATH=tests python -m tools.chaos --runs 50 --minutes 20

Every run has a store of its own, on local disk or on a real S3 server, and one fault at a random moment: a process or a
server is killed, the disk is full, connections break, a stored bit flips. Then the same command is given again, and
has to succeed. All files of all artifacts must have the bytes of the undisturbed run's, and the store must be whole.
The end of the printed table says so or not, and so does the exit code.
"""

import os

# Sums have the same order in every process, whichever it is; before torch is imported anywhere.
os.environ["OMP_NUM_THREADS"] = "1"

import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from flows.terminal import say_table
from tools.chaos.arena import Outcome, arena, finish
from tools.chaos.containers import FAULTS as CONTAINER_FAULTS
from tools.chaos.containers import Containers, faults_of
from tools.chaos.faults import FAULTS
from tools.chaos.trial import Trial, run_trial

app = App(name="chaos", help=__doc__)


@app.default
def main(
    *,
    runs: int = 50,
    minutes: float = 20.0,
    seed: int = 0,
    faults: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    keep: Path | None = None,
    containers: Path | None = None,
) -> None:
    """Run, print a line for every run, and a table of faults and outcomes.

    Parameters
    ----------
    runs:
        How many; the faults take turns in a random order.
    minutes:
        After which no more is begun; then the exit code is 1.
    seed:
        Decides faults and moments.
    faults:
        Names of those to choose from; all by default.
    keep:
        Folder that keeps stores and logs; else they are deleted.
    containers:
        Folder in which ``make image-test`` keeps its images: a part of the runs are containers then, and four faults
        more harm these. Takes a network and a process space of its own, as ``make image-chaos`` gives it.
    """
    known = dict(FAULTS)
    names = [*known, *(CONTAINER_FAULTS if containers else ())]
    if unknown := set(faults) - {*names}:
        sys.exit(f"there is no fault {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as temporary:
        folder = (keep or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        trials = []
        with arena(folder) as place:
            ground = Containers.started(containers.absolute()) if containers else None
            if ground:
                known |= faults_of(ground)
                calm = ground.place(place, "calm-container")
                finish(calm.start(), calm)
                place.elsewhere[type(calm)] = Outcome.of(calm.open())
            print(
                f"an undisturbed run makes {place.artifacts} artifacts in {place.kibibytes} KiB", flush=True
            )
            for number, name in enumerate(_order(faults or names, runs, seed)):
                if time.monotonic() > end:
                    break
                trials.append(run_trial(place, number, name, known[name], f"{seed}-{number}"))
                print(trials[-1].line, flush=True)
    _print(trials)
    whole = sum(trial.identical for trial in trials)
    print(f"{whole} of {len(trials)} runs ended with the bytes of the undisturbed run; {runs} were asked for")
    sys.exit(0 if whole == runs else 1)


def _order(faults: Sequence[str], runs: int, seed: int) -> list[str]:
    """All faults as often as each other, shuffled."""
    order = [faults[number % len(faults)] for number in range(runs)]
    random.Random(seed).shuffle(order)
    return order


def _print(trials: Sequence[Trial]) -> None:
    rows = []
    for fault in dict.fromkeys(trial.fault for trial in trials):
        mine = [trial for trial in trials if trial.fault == fault]
        met: dict[str, int] = {}
        for trial in mine:
            met[trial.kind] = met.get(trial.kind, 0) + 1
        rows.append(
            (
                fault,
                len(mine),
                ", ".join(f"{count} {kind}" for kind, count in sorted(met.items())),
                f"{sum(trial.again for trial in mine)} succeeded",
                f"{sum(trial.identical for trial in mine)} of {len(mine)}",
            )
        )
    say_table(("fault", "runs", "of them met by", "rerun", "identical"), rows)


if __name__ == "__main__":
    app()

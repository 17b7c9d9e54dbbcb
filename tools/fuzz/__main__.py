"""Spoil files of every kind and read them: does a reader crash, raise, hang, or take the machine?

    PYTHONPATH=tests python -m tools.fuzz --seconds 300

Inputs are made on the spot and changed at random: bits, lengths, words, ends, splices, with checksums put right again.
A process of its own reads them, and is started again when it dies; what may crash reads in a child of that process. A
reader has to take an input or refuse it in one sentence, within bounds of memory and time. The table at the end counts,
inputs that break a rule are kept and named, and then the exit code is 1.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from flows.terminal import say_table
from tools.fuzz.campaign import MEMORY_BOUND, SECONDS_BOUND, Tally, run
from tools.fuzz.seeds import SEEDS

app = App(name="fuzz", help=__doc__)


@app.default
def main(
    *,
    seconds: float = 300.0,
    seed: int = 0,
    readers: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = tuple(SEEDS),
    keep: Path | None = None,
) -> None:
    """Read spoilt inputs for some time, and print what became of them.

    Parameters
    ----------
    seconds:
        In all; readers get equal shares.
    seed:
        Decides the inputs.
    readers:
        Names of those to try.
    keep:
        Folder for inputs that break a rule; a temporary one, which is named, when not given.
    """
    folder = (keep or Path(tempfile.mkdtemp(prefix="mmer-fuzz-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    tallies = run(readers, folder, seed=seed, seconds=seconds)
    show(tallies)
    violations = [violation for tally in tallies.values() for violation in tally.violations]
    for violation in violations:
        print(violation)
    inputs = sum(tally.inputs for tally in tallies.values())
    print(
        f"{len(violations)} of {inputs} inputs broke a rule (no crash, no traceback, at most {MEMORY_BOUND // 2**20} MB "
        f"and {SECONDS_BOUND:.0f} s)"
    )
    if not violations and keep is None:
        folder.rmdir()
    sys.exit(1 if violations else 0)


def show(tallies: dict[str, Tally]) -> None:
    """Print a table with a row a reader."""
    names: Sequence[str] = ("inputs", "accepted", "refused", "crashed", "raised")
    rows = [
        (
            reader,
            *(getattr(tally, name) for name in names),
            tally.worst_memory // 2**20,
            f"{tally.worst_seconds:.1f}",
        )
        for reader, tally in tallies.items()
    ]
    say_table(("reader", *names, "worst MB", "worst s"), rows)


if __name__ == "__main__":
    app()

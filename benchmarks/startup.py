"""What it costs to start: CPU seconds (user and system, median of five) of commands that compute nothing.

    python -m benchmarks.startup

The pipeline runs twice in a new store, with the configuration ``demo`` unless --config names another one; the run that
finds everything there is the one that is measured.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from cyclopts import App

from benchmarks.result import finish
from flows.output import say

app = App(name="benchmarks.startup", help=__doc__)
COMMANDS = {
    "--version": 0.3,
    "--help": 0.3,
    "no-such-command": 0.3,
    "train --help": 1.0,
    "pipeline --help": 1.0,
    "artifacts ls": 1.0,
}
"""CPU seconds that each may take at most."""
PIPELINE = 4.0


@app.default
def main(*, rounds: int = 5, quick: bool = False, config: str = "demo", json: Path | None = None) -> None:
    """Measure every command; with --quick no pipeline."""
    with tempfile.TemporaryDirectory() as place:
        where = ["--store", f"{place}/store", "--work", f"{place}/work"]
        limits = {**COMMANDS}
        if not quick:
            pipeline = f"pipeline --config {config}"
            say(f"{pipeline}: {_seconds([*pipeline.split(), *where]):.0f} s to make everything")
            limits[pipeline] = PIPELINE
        rows = []
        for command, limit in limits.items():
            words = command.split()
            stored = words[0] in ("artifacts", "pipeline") and words[-1] != "--help"
            took = [_seconds([*words, *(where if stored else ())]) for _ in range(rounds)]
            rows.append({"command": command, "CPU s": statistics.median(took), "at most": limit})
    finish("startup", rows, {}, json)


def _seconds(arguments: list[str]) -> float:
    """CPU seconds of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "flows.cli", *arguments], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    app()

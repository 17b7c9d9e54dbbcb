"""What it costs to start: CPU seconds (user and system, median of five) of commands that compute nothing.

Of compiled modules, as installed ones are: a first run of each command, which may compile them, is not measured.

    python -m benchmarks.startup

The pipeline runs twice in a new store, with the configuration ``demo`` unless --config names another one; the run that
finds everything there is the one that is measured.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from cyclopts import App
from PIL import Image

from benchmarks.result import finish, run_app
from flows.output import say

app = App(name="benchmarks.startup", help=__doc__)
PHOTOS = 40
COMMANDS = {
    "--version": 0.3,
    "--help": 0.3,
    "no-such-command": 0.3,
    "train --help": 1.0,
    "pipeline --help": 1.0,
    "artifacts ls": 1.0,
    f"data check, {PHOTOS} photos": 1.0,
}
"""CPU seconds that each may take at most."""
PIPELINE = 4.0


@app.default
def main(*, rounds: int = 5, quick: bool = False, config: str = "demo", json: Path | None = None) -> None:
    """Measure every command; with --quick no pipeline."""
    with tempfile.TemporaryDirectory() as place:
        where = ["--store", f"{place}/store", "--work", f"{place}/work"]
        manifest = _manifest(Path(place))
        limits = {**COMMANDS}
        if not quick:
            pipeline = f"pipeline --config {config}"
            say(f"{pipeline}: {_seconds([*pipeline.split(), *where]):.0f} s to make everything")
            limits[pipeline] = PIPELINE
        rows = []
        for command, limit in limits.items():
            words = command.partition(",")[0].split()
            if words[0] == "data":
                words += ["--dataset", "manifest", "--root", str(manifest)]
            elif words[0] in ("artifacts", "pipeline") and words[-1] != "--help":
                words += where
            _, *took = (_seconds(words) for _ in range(rounds + 1))
            rows.append({"command": command, "CPU s": statistics.median(took), "at most": limit})
    finish("startup", rows, {}, json)


def _manifest(folder: Path) -> Path:
    """A manifest of drawn photos."""
    pixels = np.random.default_rng(0).integers(0, 256, (PHOTOS, 240, 320, 3), dtype=np.uint8)
    rows = ["id,image,labels,text"]
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.jpg")
        rows.append(f"{number},{number}.jpg,{'happy' if number % 2 else 'sad'},photo {number}")
    (folder / "photos.csv").write_text("\n".join(rows) + "\n")
    return folder / "photos.csv"


def _seconds(arguments: list[str]) -> float:
    """CPU seconds of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "flows.cli", *arguments]
    subprocess.run(command, env=environment, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    run_app(app)

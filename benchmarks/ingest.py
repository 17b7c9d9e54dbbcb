"""Speed and memory of ingestion: mmer against a straightforward single loop.

    python -m benchmarks.ingest --flickr8k DIR

Both convert the same trees, at two sizes, alternately, each in a process of its own. mmer's time covers the whole stage:
fingerprint of the files, annotations, arrays, CSV, quarantine, and publishing in the store, synced to the disk. The
loop decodes a photo again for every person or caption, and does not sync its files. It is measured twice: as the reference
does it, which is what mat2py does, and with antialiasing, which is what all other protocols do. What any program can reach beside it is
bounded by what decoding and resizing each photo of EMOTIC once takes, shared by all cores.
EMOTIC is drawn (640x480 pixels, with noise); so is Flickr8k if no folder is given. Under the protocol mat2py
the arrays of both must be identical, byte for byte.
"""

import json as json_lines
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from cyclopts import App

from benchmarks.raw_trees import flickr8k_tree, natural_emotic
from benchmarks.result import finish, run_app

app = App(name="benchmarks.ingest", help=__doc__)

GROWTH = 4
LOOP, ANTIALIASED, ONCE = "loop", "antialiased", "once"
LOOPS = {LOOP: "the loop", ANTIALIASED: "the antialiased loop"}
SIDES = {
    "flickr8k": (LOOP, ANTIALIASED, "corrected"),
    "emotic": (LOOP, ANTIALIASED, "mat2py", "corrected", ONCE),
}
NAMES = {
    ("flickr8k", LOOP): "single loop, a photo a caption",
    ("flickr8k", ANTIALIASED): "the same with antialiasing",
    ("flickr8k", "corrected"): "mmer",
    ("emotic", LOOP): "single loop, a photo a person",
    ("emotic", ANTIALIASED): "the same with antialiasing",
    ("emotic", ONCE): "decoding a photo once and resizing it, nothing else, one core",
    ("emotic", "mat2py"): "mmer, protocol mat2py",
    ("emotic", "corrected"): "mmer, protocol corrected",
}


@app.default
def main(
    *,
    flickr8k: Path | None = None,
    photos: int = 500,
    repeats: int = 5,
    quick: bool = False,
    json: Path | None = None,
) -> None:
    """Convert both layouts with both programs and print photos per second and peak memory.

    Parameters
    ----------
    flickr8k:
        Folder of a Flickr8k download, of which a sample is used; without it a miniature is drawn.
    photos:
        Photos of the smaller trees; the larger have four times as many.
    repeats:
        Number of conversions of each kind, alternating; the table shows medians.
    quick:
        A smoke test: 200 photos, once.
    json:
        File for the figures.
    """
    if quick:
        photos, repeats = 200, 1
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for layout, sides in SIDES.items():
            for size in (photos, GROWTH * photos):
                root = folder / f"{layout}-{size}"
                if layout == "emotic":
                    natural_emotic(root, size)
                else:
                    flickr8k_tree(root, size, flickr8k)
            runs = _runs(folder, layout, sides, (photos, GROWTH * photos), repeats)
            rows += [_row(layout, side, size, figures) for (side, size), figures in runs.items()]
            ratios |= _ratios(layout, sides, photos, runs)
    finish("ingest", rows, ratios, json)


Runs = dict[tuple[str, int], list[dict[str, Any]]]


def _runs(folder: Path, layout: str, sides: tuple[str, ...], sizes: tuple[int, ...], repeats: int) -> Runs:
    runs: Runs = defaultdict(list)
    for size in sizes:
        for _ in range(repeats):
            for side in sides:
                runs[side, size].append(_run(side, layout, folder / f"{layout}-{size}"))
        if "mat2py" in sides:
            expected, made = runs[LOOP, size][0]["arrays"], runs["mat2py", size][0]["arrays"]
            if not expected.items() <= made.items():
                raise SystemExit("mmer's arrays under mat2py are not those of the single loop")
    return runs


def _run(side: str, layout: str, root: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=root.parent) as out:
        command = [sys.executable, "-m", "benchmarks.ingest_run", side, layout, str(root), f"{out}/made"]
        ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json_lines.loads(ended.stdout)
    return figures


def _median(figures: list[dict[str, Any]], name: str) -> float:
    return statistics.median(one[name] for one in figures)


def _row(layout: str, side: str, size: int, figures: list[dict[str, Any]]) -> dict[str, Any]:
    seconds, cpu, peak, imports = (_median(figures, name) for name in ("seconds", "cpu", "peak", "imports"))
    return {
        "dataset": layout,
        "program": NAMES[layout, side],
        "photos": size,
        "seconds": seconds,
        "CPU s": cpu,
        "photos/s": size / seconds,
        "peak MiB": round(peak),
        "of it imports": round(imports),
    }


def _ratios(layout: str, sides: tuple[str, ...], photos: int, runs: Runs) -> dict[str, float]:
    large = GROWTH * photos
    found = {}
    for side in sides:
        name = f"{layout}, {NAMES[layout, side]}"
        for size in (photos, large) if side not in LOOPS else ():
            if side == ONCE:
                cores = os.cpu_count() or 1
                most = f"{layout}: times as fast as the loop at most, on {cores} cores, {size} photos"
                found[most] = cores * _faster(runs, LOOP, side, size)
                continue
            for loop in LOOPS if side == "corrected" else (LOOP,):
                found[f"{name}: times as fast as {LOOPS[loop]}, {size} photos"] = _faster(
                    runs, loop, side, size
                )
        if side == ONCE:
            continue
        grown = _median(runs[side, large], "peak") / _median(runs[side, photos], "peak")
        found[f"{name}: peak memory, {large} / {photos} photos"] = grown
    return found


def _faster(runs: Runs, loop: str, side: str, size: int) -> float:
    pairs = zip(runs[loop, size], runs[side, size], strict=True)
    return statistics.median(one["seconds"] / mine["seconds"] for one, mine in pairs)


if __name__ == "__main__":
    run_app(app)

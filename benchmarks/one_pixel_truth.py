"""How strong attacks are, truly: of the images that one pixel in a corner colour can fool, which each of them found.

    python -m benchmarks.one_pixel_truth --json truth.json

All attack the classifier of `benchmarks.attack` on one thread; time is CPU time. An exhaustive search tries every pixel in
every corner, ``8 * side * side`` queries for each image, so the images are small. Intervals are Wilson's, of 95 %.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App

from benchmarks.attack_case import AttackedPhotos
from benchmarks.result import finish, percent, run_app
from mmer_core.attacks import ATTACKS, ExhaustiveOnePixel
from mmer_core.statistics.shares import share_interval

app = App(name="benchmarks.one_pixel_truth", help=__doc__)


@app.default
def main(
    *,
    attacks: Sequence[str] = ("sparse-rs", "de", "sparse-pgd", "random-corners", "random"),
    budgets: Sequence[int] = (100, 400),
    images: int = 64,
    side: int = 64,
    quick: bool = False,
    json: Path | None = None,
) -> None:
    """Print the share that each attack found, and its time.

    Parameters
    ----------
    attacks:
        Names of attacks.
    budgets:
        Queries for each image.
    images:
        Images to attack.
    side:
        Height and width of the images.
    quick:
        A smoke test on two tiny images.
    json:
        File for the figures.
    """
    torch.set_num_threads(1)
    if quick:
        images, side, budgets = 2, 32, (20,)
    case = AttackedPhotos(images, (side, side))
    everything = slice(images)
    foolable, seconds = case.fooled(ExhaustiveOnePixel(whole=True), everything, 1, 0)
    rows = [_row("exhaustive", None, foolable, seconds / images)]
    for name in attacks:
        for budget in budgets:
            fooled, seconds = case.fooled(ATTACKS.make(name), everything, 1, budget)
            rows.append(_row(name, budget, fooled[foolable], seconds / images))
    finish("one_pixel_truth", rows, {}, json)


def _row(name: str, budget: int | None, hits: np.ndarray, seconds: float) -> dict[str, Any]:
    """A row of the table, also printed immediately; ``hits (n,)`` bool."""
    row = {
        "attack": name,
        "queries": budget or "all",
        "of": len(hits),
        "found": percent(share_interval(hits)),
        "CPU s an image": seconds,
    }
    print(*row.values(), sep=", ", flush=True)
    return row


if __name__ == "__main__":
    run_app(app)

"""What a budget and a number of images buy: success of the default attacks by budget, and differences found by images.

    python -m benchmarks.attack_defaults --json defaults.json

The first table attacks the classifier of `benchmarks.attack` on one thread; time is CPU time, and intervals are Wilson's,
of 95 %. Every budget is a run of its own, because Sparse-RS plans by it. The second table simulates studies of two models
that succeed on about half of the images, half of which are easy or hard for both alike, and prints the smallest
difference that at least 80 % of the studies find.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App

from benchmarks.attack_case import AttackedPhotos
from benchmarks.coverage import claims
from benchmarks.result import finish, percent, run_app, show
from mmer_core.attacks import ATTACKS
from mmer_core.statistics.shares import share_interval

POWER = 0.8

app = App(name="benchmarks.attack_defaults", help=__doc__)


@app.default
def main(
    *,
    attacks: Sequence[str] = ("sparse-rs", "random-corners"),
    pixels: Sequence[int] = (1, 5, 20),
    budgets: Sequence[int] = (50, 100, 200, 400, 800),
    images: int = 64,
    sizes: Sequence[int] = (25, 50, 100, 200, 400),
    studies: int = 400,
    quick: bool = False,
    json: Path | None = None,
) -> None:
    """Print both tables.

    Parameters
    ----------
    attacks:
        Names of attacks.
    pixels:
        Numbers of changed pixels (K).
    budgets:
        Queries for each image.
    images:
        Images to attack.
    sizes:
        Numbers of images of simulated studies.
    studies:
        Simulated studies of each size and difference.
    quick:
        A smoke test on a few images and studies.
    json:
        File for the figures.
    """
    torch.set_num_threads(1)
    if quick:
        pixels, budgets, images, sizes, studies = (5,), (10, 20), 4, (50,), 40
    found = {size: smallest(size, studies) for size in sizes}
    points = [{"images": size, "points": least} for size, least in found.items()]
    show(f"The smallest difference that {POWER:.0%} of the studies find", points)
    case, rows = AttackedPhotos(images), []
    for k in pixels:
        for budget in budgets:
            rows.append(_row(case, attacks, k, budget))
            show(f"K = {k}, {budget} queries", rows[-1:])
    finish(
        "attack_defaults",
        rows,
        {f"--attack.images {size}: points": least for size, least in found.items()},
        json,
    )


def smallest(images: int, studies: int) -> int:
    """The smallest difference, in whole percentage points, that is found in at least `POWER` of the studies."""
    generator = np.random.default_rng(images)
    return next(
        points for points in range(2, 101) if claims(generator, studies, images, points / 100, 0.5) >= POWER
    )


def _row(case: AttackedPhotos, attacks: Sequence[str], pixels: int, budget: int) -> dict[str, Any]:
    """What each attack fools, what all of them do together, and the time of all."""
    count = len(case.images)
    shares, together, spent = {}, np.zeros(count, bool), 0.0
    for name in attacks:
        fooled, seconds = case.fooled(ATTACKS.make(name), slice(count), pixels, budget)
        shares[name] = percent(share_interval(fooled))
        together |= fooled
        spent += seconds
    fooled_by = {**shares, "together": percent(share_interval(together))}
    return {"K": pixels, "queries": budget, **fooled_by, "CPU s an image": spent / count}


if __name__ == "__main__":
    run_app(app)

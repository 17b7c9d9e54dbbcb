"""How many images are fooled by as much time of one core: black box, and screened by the victim's gradient?

    python -m benchmarks.attack_success --json success.json

Both attack the same images with the same classifier as `benchmarks.attack`. The black box (Sparse-RS) gets a budget of
queries, the screened attack half of it and what its estimates take; the table tells the time that each took. So a row
with less time and more images fooled is better on both counts.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App

from benchmarks.attack import MEAN, SIZE, STD, classifier, photos
from benchmarks.result import finish
from mmer_core.attacks import (
    Attack,
    ClassifierVictim,
    DominantEmotionFlip,
    Outcome,
    Screened,
    SparseRS,
    run_attack,
)

app = App(name="benchmarks.attack_success", help=__doc__)


@app.default
def main(
    *,
    pixels: Sequence[int] = (1, 3, 5, 20),
    images: int = 64,
    budget: int = 200,
    quick: bool = False,
    json: Path | None = None,
) -> None:
    """Print success and time for each K.

    Parameters
    ----------
    pixels:
        Numbers of changed pixels (K).
    images:
        Images to attack.
    budget:
        Queries of the black box for each image.
    quick:
        K = 5 on four images: does it run?
    json:
        File for the figures.
    """
    torch.set_num_threads(1)
    if quick:
        pixels, images, budget = (5,), 4, 50
    case = _Case(images)
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for k in pixels:
        black, black_time = case.attack(SparseRS(), k, budget)
        screened, screened_time = case.attack(Screened(), k, budget // 2)
        for name, outcomes, seconds in (
            ("black box (Sparse-RS)", black, black_time),
            ("screened", screened, screened_time),
        ):
            judged = sum(outcome.queries for outcome in outcomes)
            seen = judged + sum(outcome.screened for outcome in outcomes)
            rows.append(
                {
                    "what": name,
                    "K": k,
                    "fooled": f"{100 * _success(outcomes):.0f} %",
                    "seconds an image": seconds / images,
                    "queries an image": judged / images,
                    "candidates a second": seen / seconds,
                }
            )
        ratios[f"K = {k}: success screened / black box"] = _success(screened) / max(
            _success(black), 1 / images
        )
        ratios[f"K = {k}: time screened / black box"] = screened_time / black_time
        ratios[f"K = {k}: candidates a second screened / black box"] = (
            rows[-1]["candidates a second"] / rows[-2]["candidates a second"]
        )
    finish("attack_success", rows, ratios, json)


class _Case:
    """A classifier, images, and what it says of them."""

    def __init__(self, count: int) -> None:
        self._victim = ClassifierVictim(classifier(), MEAN, STD, SIZE)
        self._images = photos(count)
        scores = [
            self._victim.scores(torch.from_numpy(one[None]), torch.zeros(1, dtype=torch.int64))
            for one in self._images
        ]
        self._criterion = DominantEmotionFlip(torch.cat(scores).argmax(dim=1).numpy())
        self._ids = [str(number) for number in range(count)]

    def attack(self, attack: Attack, pixels: int, budget: int) -> tuple[list[Outcome], float]:
        """The outcomes and the time of the processor, without that of making the plan."""
        self._victim.planner.plan(pixels)
        start = time.process_time()
        outcomes = run_attack(
            self._victim, self._criterion, attack, self._images, self._ids, pixels=pixels, budget=budget
        )
        return outcomes, time.process_time() - start


def _success(outcomes: Sequence[Outcome]) -> float:
    return float(np.mean([outcome.status == "fooled" for outcome in outcomes]))


if __name__ == "__main__":
    app()

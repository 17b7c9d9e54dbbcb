"""What a query costs beside the network: searches, rendering and bookkeeping, on a victim that costs nothing.

    python -m benchmarks.attack_overhead --json overhead.json

The victim makes every candidate an image, in passes of any size, and answers without looking at it. One thread; microseconds of CPU time a
query, set-up excluded: the difference between a long and a short run, divided by the queries between them.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App

from benchmarks.result import finish, run_app
from mmer_core.attacks import ATTACKS, Candidates, DominantEmotionFlip, run_attack
from mmer_core.attacks.candidates import Renderer

app = App(name="benchmarks.attack_overhead", help=__doc__)

SIDE = 224
BUDGETS = {"sparse-rs": (8, 40), "random": (64, 128), "random-corners": (64, 128), "de": (50, 100)}
FEW = 10
"""Images of a small shard."""


class FreeVictim:
    """Two scores that no candidate improves."""

    size, device = (SIDE, SIDE), torch.device("cpu")
    _scores = torch.tensor([1.0, 0.0])

    def __init__(self, batch_size: int) -> None:
        self._batch_size, self._render = (
            batch_size,
            Renderer(torch.empty(0, SIDE, SIDE, 3, dtype=torch.uint8)),
        )
        self._clean: torch.Tensor | None = None

    def images_at_once(self, pixels: int) -> None:
        """Any number."""

    def pass_size(self, useful: float) -> int:
        """A full batch costs as much as one candidate: nothing."""
        return self._batch_size

    def candidate_scores(
        self, images: torch.Tensor, rows: torch.Tensor, candidates: Candidates
    ) -> torch.Tensor:
        """Render the candidates."""
        if images is not self._clean:
            self._clean, self._render = images, Renderer(images)
        return self.scores(self._render(rows, candidates), rows)

    def scores(self, images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The same for every image."""
        return self._scores.expand(len(rows), 2)


@app.default
def main(
    *,
    images: Sequence[int] = (FEW, 256),
    pixels: Sequence[int] = (1, 20),
    batch_size: int = 64,
    rounds: int = 3,
    quick: bool = False,
    json: Path | None = None,
) -> None:
    """Print microseconds a query.

    Parameters
    ----------
    images:
        Sizes of shards.
    pixels:
        Numbers of changed pixels (K).
    batch_size:
        Images in one call of the victim.
    rounds:
        The best of so many counts.
    quick:
        A smoke test: ten images, one round.
    json:
        File for the figures.
    """
    torch.set_num_threads(1)
    images, rounds = ((FEW,), 1) if quick else (images, rounds)
    clean = np.random.default_rng(0).integers(0, 256, (max(images), SIDE, SIDE, 3), dtype=np.uint8)
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for name in BUDGETS:
        for k in pixels:
            costs = {n: _microseconds(name, k, clean[:n], batch_size, rounds) for n in images}
            rows += [{"attack": name, "K": k, "images": n, "us a query": cost} for n, cost in costs.items()]
            ratios[f"{name}, K = {k}: {min(images)} images / {max(images)}"] = (
                costs[min(images)] / costs[max(images)]
            )
    finish("attack-overhead", rows, ratios, json)


def _microseconds(name: str, pixels: int, images: np.ndarray, batch_size: int, rounds: int) -> float:
    """Of one query."""

    def seconds(budget: int) -> float:
        ids = [str(row) for row in range(len(images))]
        criterion, attack = DominantEmotionFlip([0] * len(images)), ATTACKS.make(name)
        start = time.process_time()
        run_attack(
            FreeVictim(batch_size),
            criterion,
            attack,
            images,
            ids,
            pixels=pixels,
            budget=budget,
            batch_size=batch_size,
        )
        return time.process_time() - start

    short, long = BUDGETS[name]
    scale = max(1, 64 // len(images))
    short, long = short * scale, long * scale
    best = [min(seconds(budget) for _ in range(rounds)) for budget in (short, long)]
    return 1e6 * (best[1] - best[0]) / (len(images) * (long - short))


if __name__ == "__main__":
    run_app(app)

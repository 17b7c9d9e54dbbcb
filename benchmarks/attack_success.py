"""Success rate of few-pixel attacks: mmer, other libraries, and mmer with the victim's gradients.

    pip install --no-deps adversarial-robustness-toolbox torchattacks
    python -m benchmarks.attack_success --json success.json

All attack the classifier of `benchmarks.attack` on one thread; time is CPU time, by K. There are two comparisons:

- with the libraries, on the first few images: with the same number of queries, and with three times as many, which take
  mmer about as long (the table shows the time);
- gradient-screened and black-box search, on all images: half of the queries, plus the cost of the estimates.

Success is judged by the plain model: of the adversarial image rounded to uint8 as in a file, and only if it changes at most K
pixels. In parentheses, where it is another, stands the success of the image as returned, whatever it changed.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App

from benchmarks.attack import CLASSES
from benchmarks.attack_case import AttackedPhotos
from benchmarks.attack_peers import Peer, peers
from benchmarks.result import finish, run_app
from mmer_core.attacks import (
    Attack,
    GradientGuidedSparseRS,
    SparseRS,
    changed_pixels,
)

app = App(name="benchmarks.attack_success", help=__doc__)

_LONGER = 3  # mmer's number of queries per query of a library; fewer than its speed advantage


@app.default
def main(
    *,
    pixels: Sequence[int] = (1, 3, 5, 20),
    images: int = 64,
    shared: int = 16,
    budget: int = 400,
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
    shared:
        Of these, how many the other libraries attack as well; 0 for none.
    budget:
        Queries for each image.
    quick:
        A smoke test: K = 5 on a few images.
    json:
        File for the figures.
    """
    torch.set_num_threads(1)
    if quick:
        pixels, images, shared, budget = (5,), 4, 1, 50
    case = _Case(images)
    runs: dict[str, dict[int, _Run]] = defaultdict(dict)
    ratios: dict[str, float] = {}
    for k in pixels:
        if shared and (others := case.libraries(shared, k, budget)):
            equal = case.run("mmer, as many queries", SparseRS(), shared, k, budget)
            longer = case.run(f"mmer, {_LONGER} times the queries", SparseRS(), shared, k, _LONGER * budget)
            for run in (*others, equal, longer):
                runs[run.name][k] = run
            leader = max(others, key=lambda run: case.success(k, run))
            ratios[f"K = {k}: time, mmer, {_LONGER} times the queries / {leader.name}"] = (
                longer.seconds / leader.seconds
            )
        black = case.run("Sparse-RS", SparseRS(), images, k, budget)
        screened = case.run("screened", GradientGuidedSparseRS(), images, k, budget // 2)
        for run in (black, screened):
            runs[run.name][k] = run
        ratios[f"K = {k}: time, screened / Sparse-RS"] = screened.seconds / black.seconds
        ratios[f"K = {k}: candidates a second, screened / Sparse-RS"] = (
            screened.candidates / screened.seconds * black.seconds / black.candidates
        )
    finish("attack_success", [case.row(name, by_k) for name, by_k in runs.items()], ratios, json)


@dataclass(frozen=True)
class _Run:
    """An attack's results for the first images: ``(n, H, W, 3)`` in 0..255, uint8 or float."""

    name: str
    adversarial: np.ndarray
    seconds: float
    queries: int
    candidates: int


class _Case(AttackedPhotos):
    def run(self, name: str, attack: Attack, count: int, pixels: int, budget: int) -> _Run:
        """Run one of mmer's attacks on the first images."""
        outcomes, made, seconds = self.attack(attack, slice(count), pixels, budget)
        queries = sum(outcome.queries for outcome in outcomes)
        return _said(_Run(name, made, seconds, queries, queries + sum(one.screened for one in outcomes)))

    def libraries(self, count: int, pixels: int, budget: int) -> list[_Run]:
        """Run the attacks of other libraries, if installed."""
        try:
            known = peers(self.plain, CLASSES)
        except ImportError as error:
            print(f"no other library is compared: {error}")
            return []
        return [self._library(name, peer, count, pixels, budget) for name, peer in known.items()]

    def _library(self, name: str, peer: Peer, count: int, pixels: int, budget: int) -> _Run:
        np.random.seed(0)
        torch.manual_seed(0)
        self.plain.queries = 0
        start = time.process_time()
        with torch.no_grad():
            made = [
                peer(image, int(label), pixels, budget)
                for image, label in zip(self.images[:count], self.labels, strict=False)
            ]
        seconds, queries = time.process_time() - start, self.plain.queries
        return _said(_Run(name, np.stack(made), seconds, queries, queries))

    def success(self, pixels: int, run: _Run) -> float:
        """Share of the images that are fooled as uint8 images with at most ``K`` changed pixels."""
        return float((self._fooled(_rounded(run)) & self._within(pixels, run)).mean())

    def row(self, name: str, by_k: dict[int, _Run]) -> dict[str, Any]:
        """A row of the table."""
        return {
            "attack": name,
            "images": len(next(iter(by_k.values())).adversarial),
            **{f"K = {k}": self._shown(k, run) for k, run in by_k.items()},
            "CPU s an image": _by_k(run.seconds / len(run.adversarial) for run in by_k.values()),
            "queries an image": _by_k(run.queries / len(run.adversarial) for run in by_k.values()),
        }

    def _shown(self, pixels: int, run: _Run) -> str:
        success, returned = self.success(pixels, run), self._fooled(run.adversarial).mean()
        return _percent(success) + (f" ({_percent(returned)})" if returned != success else "")

    def _fooled(self, images: np.ndarray) -> np.ndarray:
        return self.read(images) != self.labels[: len(images)]

    def _within(self, pixels: int, run: _Run) -> np.ndarray:
        pairs = zip(self.images, _rounded(run), strict=False)
        return np.array([changed_pixels(clean, made) <= pixels for clean, made in pairs])


def _said(run: _Run) -> _Run:
    """The same, once it has been printed that it is there: all of them take an hour."""
    print(f"{run.name}: {run.seconds:.0f} s", flush=True)
    return run


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _by_k(values: Iterable[float]) -> str:
    return " / ".join(f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values)


def _rounded(run: _Run) -> np.ndarray:
    return np.rint(run.adversarial).clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    run_app(app)

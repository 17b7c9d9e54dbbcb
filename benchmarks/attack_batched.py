"""Sparse-RS on few images: mmer beside a plain batched program around the machine's fastest dense forward pass.

    python -m benchmarks.attack_batched --json batched.json

The peer is what one writes by hand: all images in one batch, NumPy for the search, images copied and normalised for each
query, the network compiled for that batch. Time is the CPU time of the process on one thread; contestants alternate, the
best round of each counts, and planning and compiling are left out.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App
from torch import nn

from benchmarks.attack import MEAN, STD, classifier, photos
from benchmarks.result import finish
from mmer_core.attacks import ClassifierVictim, DominantEmotionFlip, SparseRS, run_attack
from mmer_core.errors import ConfigError
from mmer_core.runtimes import RUNTIMES, compile_network

app = App(name="benchmarks.attack_batched", help=__doc__)
_CORNERS = np.array([[255 * (c >> bit & 1) for bit in (2, 1, 0)] for c in range(8)], dtype=np.uint8)


@app.default
def main(
    *,
    sides: Sequence[int] = (32, 96, 224),
    pixels: Sequence[int] = (1, 20),
    images: Sequence[int] = (8,),
    queries: int = 64,
    rounds: int = 3,
    quick: bool = False,
    json: Path | None = None,
) -> None:
    """Print queries per second of CPU time, and ratios.

    Parameters
    ----------
    sides:
        Sizes of images; below 64 a network of six convolutions, else EfficientNet-Lite0.
    pixels:
        Numbers of changed pixels (K).
    images:
        Attacked together.
    queries:
        For each image.
    rounds:
        The best of so many counts.
    quick:
        A smoke test: one round of 32 x 32.
    json:
        File for the figures.
    """
    torch.set_num_threads(1)
    sides, pixels, rounds = ((32,), (1,), 1) if quick else (sides, pixels, rounds)
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for side in sides:
        module = small_network() if side < 64 else classifier()
        for count in images:
            clean = photos(count, (side, side))
            forward = _fastest(module, torch.from_numpy(clean))
            for k in pixels:
                turns: dict[str, Callable[[], None]] = {
                    "mmer": _ours(module, clean, k, queries),
                    "batched program": partial(_by_hand, forward, clean, k, queries),
                }
                rates = dict.fromkeys(turns, 0.0)
                for _ in range(rounds):
                    for name, turn in turns.items():
                        start = time.process_time()
                        turn()
                        rate = count * queries / (time.process_time() - start)
                        rates[name] = max(rates[name], rate)
                where = f"{side} x {side}, {count} images, K = {k}"
                rows += [{"where": where, "what": name, "per second": rate} for name, rate in rates.items()]
                ratios[where] = rates["mmer"] / rates["batched program"]
    finish("attack-batched", rows, ratios, json)


def small_network() -> nn.Module:
    """Six convolutions, for images of 32 x 32."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    before = 3
    for width, stride in ((32, 1), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        layers += [nn.Conv2d(before, width, 3, stride, 1), nn.BatchNorm2d(width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10)).eval()


def _normalised(images: torch.Tensor) -> torch.Tensor:
    return (images.permute(0, 3, 1, 2).float() / 255 - MEAN[0]) / STD[0]


def _fastest(module: nn.Module, images: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """The runtime that is fastest for this batch."""
    example, found = _normalised(images).contiguous(), []
    for runtime in RUNTIMES:
        try:
            run = compile_network(module, example, runtime).run
        except ConfigError:
            continue
        run(example)
        start = time.process_time()
        run(example)
        found.append((time.process_time() - start, runtime, run))
    return min(found, key=lambda one: one[:2])[2]


def _ours(module: nn.Module, clean: np.ndarray, pixels: int, queries: int) -> Callable[[], None]:
    """Against a column that no image can lose, so that every query is spent."""
    victim = ClassifierVictim(_Sure(module), MEAN, STD, (clean.shape[1], clean.shape[2]))
    victim.planner.plan(pixels)
    ids = [str(row) for row in range(len(clean))]

    def turn() -> None:
        criterion = DominantEmotionFlip([0] * len(clean))
        outcomes = run_attack(victim, criterion, SparseRS(), clean, ids, pixels=pixels, budget=queries)
        assert sum(one.queries for one in outcomes) == len(clean) * queries

    return turn


class _Sure(nn.Module):
    """The network, with so much more of its first score that nothing else is ever highest."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        width = next(
            layer for layer in reversed([*network.modules()]) if isinstance(layer, nn.Linear)
        ).out_features
        self.bonus = nn.Parameter(1e4 * nn.functional.one_hot(torch.tensor(0), width).float())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, S)``."""
        logits: torch.Tensor = self.network(images) + self.bonus
        return logits


def _by_hand(
    forward: Callable[[torch.Tensor], torch.Tensor], clean: np.ndarray, pixels: int, queries: int
) -> None:
    rng = np.random.default_rng(0)
    count, side = clean.shape[:2]
    flat, which = clean.reshape(count, -1, 3), np.arange(count)[:, None]
    places = rng.integers(0, side * side, (count, pixels))
    colours = _CORNERS[rng.integers(0, 8, places.shape)]
    best = np.full(count, np.inf)
    moved = max(int(0.3 * pixels / 4), 1)
    for query in range(queries):
        tried, shown = places.copy(), colours.copy()
        if query:
            chosen = rng.integers(0, pixels, (count, moved))
            tried[which, chosen] = rng.integers(0, side * side, chosen.shape)
            shown[which, chosen] = _CORNERS[rng.integers(0, 8, chosen.shape)]
        images = flat.copy()
        images[which, tried] = shown
        scores = forward(_normalised(torch.from_numpy(images.reshape(clean.shape)))).numpy()
        margins = scores[:, 0] - scores[:, 1:].max(axis=1)
        better = margins < best
        best[better], places[better], colours[better] = margins[better], tried[better], shown[better]


if __name__ == "__main__":
    app()

"""Sparse-RS on few images: mmer beside a plain batched program around the machine's fastest dense forward pass.

    python -m benchmarks.attack_batched --json batched.json
    python -m benchmarks.attack_batched --set-up --images 16 --queries 500 --json set-up.json

The peer is what one writes by hand: all images in one batch, NumPy for the search, images copied and normalised for each
query, the network compiled for that batch. Time is the CPU time of the process on one thread; contestants alternate, and a
ratio is the median of the rounds'. Planning and compiling are left out, but for ``--set-up``.

Two figures bound the ratio. A program that computes everything can be at most as fast as the forward pass alone. One that computes
only what changes saves at most the multiply-adds of what does not (`benchmarks.attack_reach`): of the pixels of a candidate, or of an
exchange, of which each pixel that leaves and each that enters is one. Both would have to cost nothing but these.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from cyclopts import App
from torch import nn
from torchvision.models import VisionTransformer

from benchmarks.attack import MEAN, STD, classifier, photos
from benchmarks.attack_reach import most_times
from benchmarks.result import finish, joined, kept_rows, run_app
from mmer_core.attacks import ClassifierVictim, DominantEmotionFlip, SparseRS, run_attack
from mmer_core.errors import ConfigError
from mmer_core.runtimes import RUNTIMES, compile_network

app = App(name="benchmarks.attack_batched", help=__doc__)
_IMAGES, _SMALL = (8, 16, 64), 100
_ALONE = 0.5  # seconds of a round
_WARM = 3  # turns, after which sizes are compiled for that are met often: in 67 passes of a turn
_CORNERS = np.array([[255 * (c >> bit & 1) for bit in (2, 1, 0)] for c in range(8)], dtype=np.uint8)


@app.default
def main(
    *,
    networks: Sequence[str] = ("small-32", "efficientnet-96", "efficientnet-224", "vit-224"),
    pixels: Sequence[int] = (1, 5, 20, 50),
    images: Sequence[int] = (),
    queries: int = 200,
    rounds: int = 5,
    set_up: bool = False,
    quick: bool = False,
    json: Path | None = None,
) -> None:
    """Print queries per second of CPU time, and ratios.

    Parameters
    ----------
    networks:
        ``small`` (six convolutions), ``efficientnet`` (EfficientNet-Lite0) or ``vit`` (a ViT-S/16 of six blocks), and the side of
        its images.
    pixels:
        Numbers of changed pixels (K).
    images:
        Attacked together; 8, 16 and 64 where left out, and 8 of more than 100 pixels a side.
    queries:
        For each image.
    rounds:
        Whose median counts.
    set_up:
        Count planning, conversion and compilation in.
    quick:
        A smoke test: one round of 32 x 32.
    json:
        File for the figures; its rows of the same machine that are not measured now are kept.
    """
    torch.set_num_threads(1)
    if quick:
        networks, pixels, images, rounds = ("small-32",), (1,), (8,), 1
    rows: list[dict[str, Any]] = []
    title = "attack-set-up" if set_up else "attack-batched"
    for name in networks:
        kind, side = name.rsplit("-", 1)
        module = _NETWORKS[kind]()
        for count in images or (_IMAGES if int(side) <= _SMALL else _IMAGES[:1]):
            clean = photos(count, (int(side), int(side)))
            forward = _fastest(module, torch.from_numpy(clean))
            ready = None if set_up else forward
            for k in pixels:
                starts: dict[str, Callable[[], Callable[[], None]]] = {
                    "mmer": partial(_ours, module, clean, k, queries),
                    "batched program": partial(_theirs, module, ready, clean, k, queries),
                }
                rates = _alternating(starts, count * queries, rounds, set_up)
                alone = _alone(forward, clean, rounds)
                times = median(
                    mine / theirs
                    for mine, theirs in zip(rates["mmer"], rates["batched program"], strict=True)
                )
                print(f"{name}, {count} images, K = {k}: {times:.2f}", flush=True)
                exchanged = SparseRS().usual_exchange(k, queries)
                rows.append(
                    {
                        "network": name,
                        "images": count,
                        "queries": queries,
                        "K": k,
                        **{what: round(median(found)) for what, found in rates.items()},
                        "times": times,
                        "forward pass alone": round(alone),
                        "times, if only what changes took time": most_times(
                            module, clean[0], 2 * exchanged if exchanged else k
                        )
                        or "-",
                    }
                )
    finish(title, joined(kept_rows(title, json), rows, "network", "images", "queries", "K"), {}, json)


def _alternating(
    starts: dict[str, Callable[[], Callable[[], None]]], queries: int, rounds: int, set_up: bool
) -> dict[str, list[float]]:
    """Queries per second of each contestant, round by round."""
    rates = defaultdict(list)
    ready = {} if set_up else {name: start() for name, start in starts.items()}
    for turn in ready.values():
        for _ in range(_WARM):
            turn()
    for _ in range(rounds):
        for name, start in starts.items():
            began = time.process_time()
            (ready.get(name) or start())()
            rates[name].append(queries / (time.process_time() - began))
    return rates


def vision_transformer() -> nn.Module:
    """A ViT-S/16 of six blocks, for images of 224 x 224."""
    torch.manual_seed(0)
    network = VisionTransformer(224, 16, 6, 6, 384, 1536, num_classes=10)
    nn.init.normal_(network.heads[0].weight, std=0.02)  # nothing to begin with
    return network.eval()


def small_network() -> nn.Module:
    """Six convolutions, for images of 32 x 32."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    before = 3
    for width, stride in ((32, 1), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        layers += [nn.Conv2d(before, width, 3, stride, 1), nn.BatchNorm2d(width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10)).eval()


_NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "small": small_network,
    "efficientnet": classifier,
    "vit": vision_transformer,
}


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


def _alone(forward: Callable[[torch.Tensor], torch.Tensor], clean: np.ndarray, rounds: int) -> float:
    """Images a second of CPU time of the pass alone, the median of the rounds."""
    images, found = _normalised(torch.from_numpy(clean)).contiguous(), []
    for _ in range(rounds):
        start, passes = time.process_time(), 0
        while time.process_time() < start + _ALONE:
            forward(images)
            passes += 1
        found.append(passes * len(images) / (time.process_time() - start))
    return median(found)


def _ours(module: nn.Module, clean: np.ndarray, pixels: int, queries: int) -> Callable[[], None]:
    """Against a column that no image can lose, so that every query is spent."""
    victim = ClassifierVictim(_Sure(module), MEAN, STD, (clean.shape[1], clean.shape[2]))
    ids = [str(row) for row in range(len(clean))]

    def turn() -> None:
        criterion = DominantEmotionFlip([0] * len(clean))
        outcomes = run_attack(victim, criterion, SparseRS(), clean, ids, pixels=pixels, budget=queries)
        assert sum(one.queries for one in outcomes) == len(clean) * queries

    return turn


def _theirs(
    module: nn.Module,
    forward: Callable[[torch.Tensor], torch.Tensor] | None,
    clean: np.ndarray,
    pixels: int,
    queries: int,
) -> Callable[[], None]:
    if forward is None:  # it knows which runtime is the fastest
        example = _normalised(torch.from_numpy(clean)).contiguous()
        forward = compile_network(module, example, "auto").run
    return partial(_by_hand, forward, clean, pixels, queries)


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
    run_app(app)

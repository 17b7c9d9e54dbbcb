"""Throughput of few-pixel candidates on one core: mmer, other libraries, and a bare forward pass.

    pip install --no-deps adversarial-robustness-toolbox torchattacks
    python -m benchmarks.attack --json attack.json

All attack the same classifier (EfficientNet-Lite0 at 224 x 224 with a randomly initialised head) on the same drawn
photos, on one thread. Time is the CPU time of the process; contestants alternate, and the best round of each counts. A
query is one image that the classifier evaluates.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App
from torch import nn

from benchmarks.attack_peers import CountedClassifier, Peer, peers
from benchmarks.result import finish, run_app
from mmer_core.attacks import (
    ClassifierVictim,
    DifferentialEvolution,
    DominantEmotionFlip,
    run_attack,
)
from mmer_core.attacks.candidates import Candidates, apply, from_flat
from mmer_core.encoders.packaged import load_image
from mmer_core.errors import ConfigError
from mmer_core.incremental.planning import Method
from mmer_core.runtimes import RUNTIMES, Runtime, compile_network

app = App(name="benchmarks.attack", help=__doc__)
Turn = Callable[[], int]  # performs some queries and returns their number

BATCH = 16
CLASSES = 26
SIZE = (224, 224)
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
_KINDS: dict[str, tuple[Method, Runtime]] = {
    "mmer": ("auto", "auto"),
    "mmer, dense": ("dense", "auto"),
    "mmer, PyTorch only": ("auto", "torch"),
}


@app.default
def main(*, pixels: Sequence[int] = (1, 3, 5, 20), quick: bool = False, json: Path | None = None) -> None:
    """Print queries per second of CPU time, and ratios.

    Parameters
    ----------
    pixels:
        Numbers of changed pixels (K).
    quick:
        A smoke test: K = 1 and one short round each.
    json:
        File for the figures.
    """
    torch.set_num_threads(1)
    rounds, queries = (1, 50) if quick else (2, 200)
    pixels = (1,) if quick else pixels
    module, images = classifier(), photos(4)
    forward = _rates(_forward_passes(module, images), rounds)
    best = max(forward.values())
    rows: list[dict[str, Any]] = [
        {"what": f"forward pass, {name}", "K": "-", "per second": rate, "largest error": "-"}
        for name, rate in forward.items()
    ]
    ratios: dict[str, float] = {}
    for k in pixels:
        victims = {
            name: ClassifierVictim(module, MEAN, STD, SIZE, method=method, runtime=runtime)
            for name, (method, runtime) in _KINDS.items()
        }
        errors = {name: _error(victim, images, k) for name, victim in victims.items()}
        others = _other_turns(module, images, k, queries)
        turns = {name: _our_turn(victim, images, k, queries) for name, victim in victims.items()} | others
        rates = _rates(turns, rounds)
        rows += [
            {
                "what": name,
                "K": k,
                "per second": rate,
                "largest error": f"{errors[name]:.0e}" if name in errors else "-",
            }
            for name, rate in rates.items()
        ]
        if others:
            ratios[f"K = {k}: mmer / fastest other library"] = rates["mmer"] / max(
                rates[name] for name in others
            )
        ratios[f"K = {k}: mmer / best dense float32 forward pass"] = rates["mmer"] / best
        ratios[f"K = {k}: mmer's choice / best cut near it"] = _choice(victims["mmer"], images, k, rounds)
        print(f"K = {k}: {victims['mmer'].planner.plan(k).sentence}")
    finish("attack", rows, ratios, json)


def _rates(turns: dict[str, Turn], rounds: int) -> dict[str, float]:
    """Queries per second of the best round of each; rounds alternate, so that all run under the same conditions."""
    rates = dict.fromkeys(turns, 0.0)
    for _ in range(rounds):
        for name, turn in turns.items():
            start = time.process_time()
            count = turn()
            rates[name] = max(rates[name], count / (time.process_time() - start))
    return rates


def _forward_passes(module: nn.Module, images: np.ndarray) -> dict[str, Turn]:
    """Bare float32 passes on prepared input, an upper bound of dense evaluation."""
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float().repeat(BATCH // len(images), 1, 1, 1)
    turns: dict[str, Turn] = {}
    for runtime in RUNTIMES:
        try:
            run = compile_network(module, batch / 128 - 1, runtime).run
        except ConfigError as error:
            print(error)
            continue

        def turn(run: Callable[[torch.Tensor], torch.Tensor] = run) -> int:
            run(batch)
            return len(batch)

        turns[runtime] = turn
    return turns


def _our_turn(victim: ClassifierVictim, images: np.ndarray, pixels: int, queries: int) -> Turn:
    clean = victim.scores(torch.from_numpy(images), torch.arange(len(images))).argmax(1).numpy()
    attack = DifferentialEvolution(population=100)

    def turn() -> int:
        outcomes = run_attack(
            victim,
            DominantEmotionFlip(clean),
            attack,
            images,
            [str(number) for number in range(len(images))],
            pixels=pixels,
            budget=queries,
        )
        return sum(outcome.queries for outcome in outcomes)

    return turn


def _other_turns(module: nn.Module, images: np.ndarray, pixels: int, queries: int) -> dict[str, Turn]:
    victim = CountedClassifier(module, torch.tensor(MEAN), torch.tensor(STD)).eval()
    try:
        known = peers(victim, CLASSES)
    except ImportError as error:
        print(f"no other library is compared: {error}")
        return {}
    with torch.inference_mode():
        label = int(victim(torch.from_numpy(images[:1]).permute(0, 3, 1, 2).float() / 255).argmax())
    turns: dict[str, Turn] = {}
    for name, peer in known.items():

        def turn(peer: Peer = peer) -> int:
            np.random.seed(0)
            torch.manual_seed(0)
            victim.queries = 0
            with torch.no_grad():
                peer(images[0], label, pixels, queries)
            return victim.queries

        turns[name] = turn
    return turns


def _choice(victim: ClassifierVictim, images: np.ndarray, pixels: int, rounds: int) -> float:
    """Speed of the chosen cut, relative to the fastest of it, its neighbours and no cut."""
    chosen, known = victim.planner.plan(pixels).cut, victim.planner.cuts
    near = known.index(chosen) if chosen else 0
    cuts = {chosen, None, *known[max(0, near - 6) : near : 3], *known[near + 3 : near + 7 : 3]}
    rows, candidates = _candidates(pixels, BATCH, len(images))
    rates = {}
    for cut in cuts:
        victim.planner.use(pixels, cut)

        def turn() -> int:
            victim.candidate_scores(torch.from_numpy(images), rows, candidates)
            return len(rows)

        turn()
        rates[cut] = _rates({"": turn}, rounds)[""]
    victim.planner.use(pixels, chosen)
    return rates[chosen] / max(rates.values())


def _error(victim: ClassifierVictim, images: np.ndarray, pixels: int) -> float:
    """Largest difference from plain PyTorch, relative to the largest score; also makes the plan."""
    rows, candidates = _candidates(pixels, 2 * BATCH, len(images))
    clean = torch.from_numpy(images)
    expected = victim.scores(apply(clean[rows], candidates), rows)
    found = victim.candidate_scores(clean, rows, candidates)
    return float((found - expected).abs().max() / expected.abs().max())


def _candidates(pixels: int, count: int, images: int) -> tuple[torch.Tensor, Candidates]:
    rng = np.random.default_rng(pixels)
    places = rng.integers(0, SIZE[0] * SIZE[1], (count, pixels))
    colours = rng.integers(0, 256, (count, pixels, 3), dtype=np.uint8)
    return torch.arange(count) % images, from_flat(places, colours)


def classifier() -> nn.Module:
    torch.manual_seed(0)
    encoder = load_image("efficientnet_lite0", None)
    head = nn.Linear(encoder.width, CLASSES)
    return nn.Sequential(encoder.module, head).eval().requires_grad_(False)


def photos(count: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """``(n, H, W, 3)`` uint8, smooth patches of colour with noise."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 7, 7)))
    smooth = nn.functional.interpolate(coarse, size, mode="bicubic").permute(0, 2, 3, 1).numpy()
    return np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    run_app(app)

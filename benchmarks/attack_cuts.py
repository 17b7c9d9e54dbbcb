"""Where the windows of a network end: the cut that mmer chooses beside others, and beside computing everything.

    python -m benchmarks.attack_cuts --json cuts.json

The choice is an estimate that depends on the network and K alone. Here every contestant is measured: passes of eight candidates, CPU time
on one thread, the fastest of five rounds. Of a network with many cuts some are tried: a few spread over all, and those near the choice.
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
from torchvision.models import get_model

from benchmarks.attack import MEAN, STD, classifier, photos
from benchmarks.attack_batched import small_network
from benchmarks.result import finish, run_app
from mmer_core.incremental.evaluator import CandidateEvaluator
from mmer_core.incremental.planning import Planner

app = App(name="benchmarks.attack_cuts", help=__doc__)
_CANDIDATES = 8
_ROUNDS, _SECONDS = 5, 0.08
_WARM = 250  # passes, after which OpenVINO has a program for their size
_SPREAD = 6
_OWN: dict[str, Callable[[], nn.Module]] = {"small": small_network, "efficientnet": classifier}


@app.default
def main(
    *,
    networks: Sequence[str] = ("small-32", "efficientnet-96", "shufflenet_v2_x1_0-96"),
    pixels: Sequence[int] = (1, 6, 20),
    quick: bool = False,
    json: Path | None = None,
) -> None:
    """Print milliseconds of CPU time a candidate.

    Parameters
    ----------
    networks:
        ``small`` (six convolutions), ``efficientnet`` (EfficientNet-Lite0) or one of torchvision, and the side of its images.
    pixels:
        Numbers of changed pixels (K).
    quick:
        A smoke test: one K of the smallest network.
    json:
        File for the figures.
    """
    torch.set_num_threads(1)
    if quick:
        networks, pixels = networks[:1], pixels[:1]
    rows: list[dict[str, Any]] = []
    for name in networks:
        kind, side = name.rsplit("-", 1)
        torch.manual_seed(0)
        module = _OWN.get(kind, partial(get_model, kind, weights=None))().eval()
        made = partial(Planner, module, _normalised, (int(side), int(side)), torch.device("cpu"))
        for k in pixels:
            planner = made()
            chosen = planner.plan(k).cut
            times = {cut: _milliseconds(made(), k, cut) for cut in _some(planner.cuts, chosen)}
            best = min(times.values())
            rows.append(
                {
                    "network": name,
                    "K": k,
                    "everything, ms": times[None],
                    "choice, ms": times[chosen],
                    "best cut, ms": best,
                    "choice / best": times[chosen] / best,
                }
            )
            print(f"{name}, K = {k}: {rows[-1]['choice / best']:.2f}", flush=True)
    worst = [float(row["choice / best"]) for row in rows]
    ratios = {
        "time of the choice / of the best cut, geometric mean": float(np.exp(np.log(worst).mean())),
        "time of the choice / of the best cut, at most": max(worst),
    }
    finish("attack-cuts", rows, ratios, json)


def _normalised(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels / 255 - MEAN[0]) / STD[0]


def _some(cuts: tuple[str, ...], chosen: str | None) -> list[str | None]:
    """Cuts to try, and None for computing everything."""
    step = max(1, len(cuts) // _SPREAD)
    found = {*range(0, len(cuts), step)}
    if chosen is not None:
        at = cuts.index(chosen)
        found |= {at, at - step // 2 - 1, at + step // 2 + 1} & {*range(len(cuts))}
    return [None, *(cuts[number] for number in sorted(found))]


def _milliseconds(planner: Planner, pixels: int, cut: str | None) -> float:
    """Of a candidate, in passes of some."""
    planner.use(pixels, cut)
    height, width = planner.size
    images = torch.from_numpy(photos(_CANDIDATES, planner.size))
    rng = np.random.default_rng(0)
    places = np.stack([rng.choice(height * width, pixels, replace=False) for _ in range(_CANDIDATES)])
    where = torch.from_numpy(np.stack(np.unravel_index(places, planner.size), axis=-1))
    colours = torch.from_numpy(255 * rng.integers(0, 2, (*places.shape, 3), dtype=np.uint8))
    score = partial(CandidateEvaluator(planner), images, range(_CANDIDATES), where, colours)
    for _ in range(_WARM):
        score()
    found = []
    for _ in range(_ROUNDS):
        began, passes = time.process_time(), 0
        while time.process_time() < began + _SECONDS:
            score()
            passes += 1
        found.append((time.process_time() - began) / passes / _CANDIDATES)
    return 1000 * min(found)


if __name__ == "__main__":
    run_app(app)

"""Time per poison against a loop that crafts one at a time, and the effect of poisons compared with the literature.

    python -m benchmarks.poison --json poison.json

Both optimise the same collisions on EfficientNet-Lite0 for the same number of iterations, on all cores that torch uses.
The loop is the straightforward implementation: the network as its package provides it, one poison, one optimiser, and
the target's features recomputed at every step (without a graph). In between are the same loop on mmer's version of the
encoder (no weight gradients, batch norms folded, channels-last), and mmer with one poison in a batch.
Time is wall-clock time; contestants alternate, and the best round of each counts.

The transfer case is benchmarks.transfer_case: one poison per target, a frozen encoder, a linear head.
"""

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from cyclopts import App, Parameter
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor

from benchmarks.result import finish, run_app
from benchmarks.transfer_case import draw_case, run_trials
from mmer_core.encoders.base import ImageEncoder
from mmer_core.encoders.packaged import load_image, weights_package
from mmer_core.encoders.weights import load_state
from mmer_core.poisoning import BullseyePolytope, CraftedAttack, FeatureCollision

app = App(name="benchmarks.poison", help=__doc__)
Turn = Callable[[], float]  # crafts for some iterations and returns seconds per poison and iteration
Sides = Annotated[tuple[int, ...], Parameter(consume_multiple=True)]
Features = Callable[[Tensor], Tensor]  # normalised (B, 3, H, W) to (B, D)

_NAME = "efficientnet_lite0"
_BATCH = 64
_FALSE_POSITIVES = 0.05


@app.default
def main(
    *,
    iterations: int = 200,
    trials: int = 40,
    sides: Sides = (64, 128, 224),
    quick: bool = False,
    json: Path | None = None,
) -> None:
    """Print seconds per poison, their ratios, and the results of the transfer case.

    Parameters
    ----------
    iterations:
        Iterations per poison, for the stated seconds and for the transfer case.
    trials:
        Number of targets of the transfer case.
    sides:
        Sides of the images whose poisons are timed, in pixels.
    quick:
        A smoke test: the smallest input only, fewer trials, and one short round each.
    json:
        File for the figures.
    """
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for side in (64,) if quick else sides:
        seconds = _best(_turns(side, 5 if quick else 40), 1 if quick else 3)
        loop, batch = seconds["loop"], seconds[f"mmer, batch {_BATCH}"]
        ratios[f"{side} x {side}: loop / mmer, batch {_BATCH}"] = loop / batch
        rows += [
            {
                "what": f"{name}, {side} x {side}",
                "value": value * iterations,
                "unit": f"s for {iterations} iterations",
            }
            for name, value in seconds.items()
        ]
    case = draw_case(64, 40, 20 if quick else trials)
    for attack in (FeatureCollision(iterations=iterations), BullseyePolytope(iterations=iterations)):
        rows += _outcome(attack, case)
    finish("poison", rows, ratios, json)


def _outcome(attack: CraftedAttack, case: Any) -> list[dict[str, Any]]:
    found = run_trials(case, attack, false_positives=_FALSE_POSITIVES)
    table = found.crafted.table()
    known = int(found.right_before.sum())
    figures = {
        f"targets flipped by one poison (of {known} known before)": (100 * found.success, "%"),
        f"deep k-NN finds at {_FALSE_POSITIVES:.0%} false positives": (
            100 * float(found.found.mean()),
            "% of poisons",
        ),
        "other targets right": (100 * float(found.right_elsewhere.mean()), "%"),
        "distance to the target, of what the base had": (
            100 * float((table["distance_after"] / table["distance_before"]).mean()),
            "%",
        ),
        "PSNR": (float(table["psnr"].mean()), "dB"),
    }
    return [
        {"what": f"{attack.name}: {what}", "value": value, "unit": unit}
        for what, (value, unit) in figures.items()
    ]


def _best(turns: dict[str, Turn], rounds: int) -> dict[str, float]:
    """The best round of each; rounds alternate, so that all run under the same conditions."""
    seconds = dict.fromkeys(turns, np.inf)
    for _ in range(rounds):
        for name, turn in turns.items():
            seconds[name] = min(seconds[name], turn())
    return seconds


def _turns(side: int, iterations: int) -> dict[str, Turn]:
    rng = np.random.default_rng(0)
    bases, targets = rng.integers(0, 256, (2, _BATCH, side, side, 3), dtype=np.uint8)
    encoder = load_image(_NAME, side)
    plain = _plain_network(side)

    def of_mmer(count: int) -> Turn:
        ids = [str(number) for number in range(count)]

        def turn() -> float:
            start = time.perf_counter()
            FeatureCollision(iterations=iterations).craft(
                [encoder], bases[:count], targets[:count], ids, batch_size=_BATCH
            )
            return (time.perf_counter() - start) / count / iterations

        return turn

    def of_loop(features: Features) -> Turn:
        def turn() -> float:
            start = time.perf_counter()
            _one_poison(features, encoder, bases[0], targets[0], iterations)
            return (time.perf_counter() - start) / iterations

        return turn

    return {
        "loop": of_loop(plain),
        "loop, mmer's encoder": of_loop(encoder.module),
        "mmer, batch 1": of_mmer(1),
        f"mmer, batch {_BATCH}": of_mmer(_BATCH),
    }


def _one_poison(
    features: Features, encoder: ImageEncoder, base: np.ndarray, target: np.ndarray, iterations: int
) -> Tensor:
    """The loop: ``||f(x) - f(t)||^2 + beta ||x - b||^2`` for one image."""
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1)
        for values in (encoder.preprocessing.mean, encoder.preprocessing.std)
    )
    clean, goal = (
        torch.tensor(image).permute(2, 0, 1)[None].float().contiguous() for image in (base, target)
    )
    beta = FeatureCollision().scaled_beta(encoder.width, encoder.size)
    poison = clean.clone().requires_grad_()
    optimiser = torch.optim.Adam([poison], lr=1.0)
    for _ in range(iterations):
        with torch.no_grad():
            wanted = features((goal - mean) / std)
        loss = (features((poison - mean) / std) - wanted).square().sum() + beta * (
            poison - clean
        ).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            poison.clamp_(0, 255)
    return poison.detach()


def _plain_network(side: int) -> Features:
    """Lite0 as its package provides it, in evaluation mode."""
    network = EfficientNet.from_name("efficientnet-lite0", image_size=side)
    package = importlib.import_module(weights_package(_NAME))
    load_state(network, Path(package.EfficientnetLite0ModelFile.get_model_file_path()))
    network.eval()
    return lambda images: network.extract_features(images).mean(dim=(2, 3))


if __name__ == "__main__":
    run_app(app)

"""Is mmer right and fast on the GPU of this machine? Under ten minutes; the first thing to run on a new one.

    python -m benchmarks.gpu_check --json gpu.json

The tests of every job run on the device (``tests/devices``). Then attacks and training are timed beside the dense forward pass
of the same network on the same device, which is what they could reach at most if the device were never waited for; and passes
that are captured as CUDA graphs beside those that are not.
Without a GPU nothing is checked.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App
from torch import nn

from benchmarks.attack_batched import small_network
from benchmarks.result import finish, run_app
from flows.output import say
from mmer_core.attacks import ATTACKS, ClassifierVictim, DominantEmotionFlip, run_attack
from mmer_core.config import ARCHITECTURES, EncoderConfig, TaskTraining
from mmer_core.encoders import ImageEncoder, load_image_encoder
from mmer_core.kernels import exact_float32, float32_kernels
from mmer_core.matrix import in_memory
from mmer_core.models import ModelSpec, RetrievalModel, build_model
from mmer_core.runtimes import compile_network
from mmer_core.training.data import RetrievalData
from mmer_core.training.loop import fit, initialisation
from mmer_core.training.retrieval_learner import RetrievalLearner

app = App(name="benchmarks.gpu_check", help=__doc__)
NO_GPU = "no CUDA device is here, so nothing was checked: run make gpu-check on a machine that has one"
TESTS = Path(__file__).parents[1] / "tests" / "devices"
ATTACKED = ("sparse-rs", "de", "random")
_SMALL = 32  # pixels a side of what the small network reads


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        side: Of the attacked images, in pixels.
        images: That are attacked together.
        queries: For each image.
        photos: To train on, with five captions each.
        epochs: Of training.
        hidden: Hidden width of the trained model, whose embedding is half as wide.
        batch: Images in a pass.
        few: Images in a small pass.
    """

    side: int = 224
    images: int = 64
    queries: int = 400
    photos: int = 6000
    epochs: int = 4
    hidden: int = 1024
    batch: int = 64
    few: int = 8


Rows = list[dict[str, Any]]


@app.default
def main(*, json: Path | None = None, tests: bool = True) -> None:
    """Run the tests of devices, measure, and print a table.

    Parameters
    ----------
    json
        File for the figures.
    tests
        Whether the tests run, too.
    """
    if not torch.cuda.is_available():
        say(NO_GPU)
        return
    failed = tests and _tests()
    device, size = torch.device("cuda", 0), Size()
    rows, ratios = measure(device, size)
    finish("gpu_check", rows, ratios, json)
    if failed:
        sys.exit(1)


def measure(device: torch.device, size: Size) -> tuple[Rows, dict[str, float]]:
    """Rates of attacks and of training on a device, and each as a share of its dense forward pass."""
    rows, ratios = _attacks(device, size)
    for part in (_graphs, _trainings):
        more, others = part(device, size)
        rows, ratios = rows + more, ratios | others
    return rows, ratios


def _tests() -> bool:
    """Whether any test failed on the device; prints what pytest says."""
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", str(TESTS))
    return subprocess.run(command, env=os.environ | {"MMER_GPU": "1"}, cwd=TESTS.parents[1]).returncode != 0


def _attacks(device: torch.device, size: Size) -> tuple[Rows, dict[str, float]]:
    encoder, network = _network(device, size)
    pixels = torch.randint(0, 256, (size.images, size.side, size.side, 3), dtype=torch.uint8)
    prepared = encoder.normalise(pixels[: size.batch])
    rows, dense = [], 0.0
    for name, tf32 in (("float32", False), ("TF32", True)):
        with float32_kernels(tf32=tf32), torch.inference_mode():
            rate = _rate(lambda: len(network(prepared)), device)
        rows.append(_row(f"dense forward pass, {name}", "-", "images", rate))
        dense = dense or rate
    mean, std = (np.array(part) / 255 for part in (encoder.preprocessing.mean, encoder.preprocessing.std))
    victim = ClassifierVictim(network, mean.tolist(), std.tolist(), encoder.size)
    clean = victim.scores(pixels, torch.arange(len(pixels))).argmax(1).cpu().numpy()
    ratios = {}
    for attack in ATTACKED:
        for few in (1, 20):

            def attacked(attack: str = attack, few: int = few) -> int:
                outcomes = run_attack(
                    victim,
                    DominantEmotionFlip(clean),
                    ATTACKS[attack](),
                    pixels.numpy(),
                    [str(row) for row in range(len(pixels))],
                    pixels=few,
                    budget=size.queries,
                    batch_size=size.batch,
                )
                return sum(outcome.queries for outcome in outcomes)

            rate = _rate(attacked, device)
            rows.append(_row(attack, str(few), "queries", rate))
            ratios[f"{attack}, K = {few} / dense float32 forward pass"] = rate / dense
    return rows, ratios


def _network(device: torch.device, size: Size) -> tuple[ImageEncoder, nn.Module]:
    """An encoder, and a classifier on it."""
    encoder = load_image_encoder("packaged:efficientnet_lite0", size.side).to(device)
    torch.manual_seed(0)
    return encoder, nn.Sequential(encoder.module, nn.Linear(encoder.width, 26).to(device)).eval()


def _graphs(device: torch.device, size: Size) -> tuple[Rows, dict[str, float]]:
    """Dense forward passes as they are compiled, captured as one CUDA graph, beside plain ones in the same layout."""
    networks = (
        ("EfficientNet-Lite0", _network(device, size)[1], size.side),
        ("six convolutions", small_network().to(device), _SMALL),
    )
    rows, ratios = [], {}
    for name, network, side in networks:
        for images in (size.few, size.batch):
            maps = torch.randn(images, 3, side, side).to(device, memory_format=torch.channels_last)
            compiled = compile_network(network, maps)
            say(compiled.sentence)
            rates = []
            for how, run in (("plain", network), ("compiled", compiled.run)):

                def passed(
                    run: Callable[[torch.Tensor], torch.Tensor] = run, maps: torch.Tensor = maps
                ) -> int:
                    return len(run(maps))

                with exact_float32(), torch.inference_mode():
                    rates.append(_rate(passed, device))
                rows.append(_row(f"{name} at {side}, {images} a pass, {how}", "-", "images", rates[-1]))
            ratios[f"{name} at {side}, {images} a pass, compiled / plain"] = rates[1] / rates[0]
    return rows, ratios


def _trainings(device: torch.device, size: Size) -> tuple[Rows, dict[str, float]]:
    """The joint retrieval model on random features; the pass reads every photo and its captions once."""
    widths = {"context": 1280, "text": 384}
    train, val = (_features(count, widths, device) for count in (size.photos, min(1000, size.photos)))
    rows, ratios = [], {}
    for precision in ("float32", "tf32", "bfloat16"):
        asked = TaskTraining(
            epochs=size.epochs, patience=size.epochs, batch_size=256, learning_rate=1e-3, precision=precision,
            contrastive="grouped_infonce",
        )  # fmt: skip
        spec = ModelSpec(
            task="retrieval", family="joint", streams=widths, embedding=size.hidden // 2, hidden=size.hidden, dropout=0.1,
            fusion=ARCHITECTURES["joint"].fusion or "mean", heads=4, labels=(), words=(), encoders=EncoderConfig(),
            dataset="random",
        )  # fmt: skip
        with initialisation(0):
            model = build_model(spec).to(device)
        assert isinstance(model, RetrievalModel)
        learner = RetrievalLearner(model, train, val, asked)
        texts = len(train.texts) // len(train.images)

        def dense(learner: RetrievalLearner = learner, texts: int = texts) -> int:
            for start in range(0, len(learner.train), 256):
                learner.model.embed_image(in_memory(learner.train.images)[start : start + 256])
                learner.model.embed_text(
                    in_memory(learner.train.texts)[start * texts : (start + 256) * texts]
                )
            return len(learner.train)

        def trained(learner: RetrievalLearner = learner, asked: TaskTraining = asked) -> int:
            return len(learner) * len(fit(learner, asked, device=device).history)

        with torch.inference_mode():
            forward = _rate(dense, device)
        rate = _rate(trained, device)
        rows += [
            _row(f"forward pass of training, {precision}", "-", "photos", forward),
            _row(f"training, {precision}", "-", "photos", rate),
        ]
        # A step is a forward pass and a backward pass of twice its work.
        ratios[f"training, {precision} / a third of its dense forward pass"] = 3 * rate / forward
    return rows, ratios


def _features(photos: int, widths: dict[str, int], device: torch.device) -> RetrievalData:
    owner = torch.arange(photos).repeat_interleave(5)
    images, texts = torch.randn(photos, widths["context"]), torch.randn(len(owner), widths["text"])
    return RetrievalData(images, texts, owner, ["a photo"] * len(owner)).to(device)


def _row(what: str, pixels: str, unit: str, rate: float) -> dict[str, Any]:
    return {"what": what, "K": pixels, "unit": unit, "per second": rate}


def _rate(work: Callable[[], int], device: torch.device, seconds: float = 3.0) -> float:
    """Of how much ``work`` does in a second, after a first call; for some seconds, and once at least."""
    work()
    done, start = 0, _now(device)
    while not done or _now(device) - start < seconds:
        done += work()
    return done / (_now(device) - start)


def _now(device: torch.device) -> float:
    """Seconds, once the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


if __name__ == "__main__":
    run_app(app)

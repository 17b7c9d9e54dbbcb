"""Training throughput: mmer trains on precomputed features; the peer computes them in every epoch.

    python -m benchmarks.training

The peer is the loop of the notebooks that mmer replaces: in every epoch, every batch goes through the frozen
backbones again, and then the head takes a step. It is implemented below in plain PyTorch, with the same photos and
texts, the same encoders with mmer's own fast forward pass, the same head and the same losses, but without validation
(mmer's epochs include it).
"""

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from cyclopts import App, Parameter
from torch.nn import functional as F

from benchmarks.result import finish, run_app
from flows.jobs import train
from flows.terminal import progress_bars
from mmer_core.config import (
    EncoderConfig,
    EvaluationConfig,
    IngestConfig,
    ModelConfig,
    RuntimeConfig,
    SyntheticConfig,
    TrainingConfig,
    TrainJob,
)
from mmer_core.datasets.prepared import Prepared, PreparedSplit
from mmer_core.encoders.features import Features
from mmer_core.matrix import mean_by_sample
from mmer_core.models import EmotionModel, build_model, load_model
from mmer_core.stages import Context
from mmer_core.task_kinds import kind_of
from mmer_core.training.data import EmotionData
from mmer_core.training.emotion_learner import EmotionLearner
from mmer_core.training.loop import fit, initialisation

app = App(name="benchmarks.training", help=__doc__)
EPOCHS = 6


@dataclass(frozen=True)
class Bench:
    """The dataset on disk, its features, and a constructor of untrained heads."""

    context: Context
    job: TrainJob
    split: PreparedSplit
    train: EmotionData
    val: EmotionData
    model_folder: Path

    def head(self) -> EmotionModel:
        """A new head with the same initial weights every time."""
        with initialisation(0):
            model = build_model(load_model(self.model_folder)[1])
        assert isinstance(model, EmotionModel)
        return model.to(self.context.device)


@app.default
def main(
    *,
    images: int = 1200,
    rounds: int = 3,
    quick: bool = False,
    json: Path | None = None,
    encoders: EncoderConfig = EncoderConfig(),
    runtime: Annotated[RuntimeConfig, Parameter(name="*")] = RuntimeConfig(),
) -> None:
    """Time epochs of both loops alternately (A B A B …) and print medians and ratios.

    Parameters
    ----------
    images:
        Photos of the drawn EMOTIC; 70 % are used for training.
    rounds:
        Number of rounds.
    quick:
        400 photos, and only 64 samples per epoch of the peer, whose cost per sample is constant.
    json:
        File for the figures.
    """
    if quick:
        images, rounds = 400, 2
    with tempfile.TemporaryDirectory() as folder:
        runtime = runtime.model_copy(
            update={"store": f"{folder}/store", "work": Path(folder) / "work", "workers": 1}
        )
        bench, seconds_encoding = _set_up(images, encoders, runtime)
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(rounds):
            theirs.append(_notebook_epoch(bench, 64 if quick else len(bench.train)))
            ours += _our_epochs(bench)
    _finish(bench, ours, theirs, seconds_encoding, json)


def _set_up(images: int, encoders: EncoderConfig, runtime: RuntimeConfig) -> tuple[Bench, float]:
    """Draw, ingest and encode by the real job; return the time for encoding the training split in seconds."""
    job = TrainJob(
        dataset=IngestConfig(dataset="emotic", synthetic=SyntheticConfig(images=images)),
        # The notebooks encode every image once: with mirror images the peer would be slower than they were.
        encoders=encoders.bare(),
        model=ModelConfig(family="joint"),
        training=TrainingConfig(epochs=1),
        evaluation=EvaluationConfig(resamples=10, split="val"),
        runtime=runtime,
    )
    with progress_bars():
        trained = train.fn(job).artifacts()
    context = Context(runtime)
    prepared, features = (
        Prepared.open(context.folder(trained.prepared)),
        Features(context.folder(trained.features)),
    )
    train_data, val_data = (
        EmotionData.load(features, prepared.split(name)).to(context.device) for name in ("train", "val")
    )
    shards = [
        manifest.wall_seconds
        for manifest in context.store.list("feature-shard")
        if manifest.config["shard"]["split"] == "train"
    ]
    bench = Bench(context, job, prepared.split("train"), train_data, val_data, context.folder(trained.model))
    return bench, sum(shards)


def _our_epochs(bench: Bench) -> list[float]:
    """Samples per second of every epoch after the first, as measured by mmer's own loop."""
    config = TrainingConfig(epochs=EPOCHS, patience=EPOCHS).filled(kind_of("emotion").schedule)
    learner = EmotionLearner(bench.head(), bench.train, bench.val, config)
    done = fit(learner, config, device=bench.context.device)
    return [cost["samples_per_second"] for cost in done.costs[1:]]


def _notebook_epoch(bench: Bench, samples: int) -> float:
    """Samples per second of the loop that runs the frozen backbones in every epoch."""
    device, split = bench.context.device, bench.split
    image_encoder = bench.context.image_encoder(bench.job.encoders.image, bench.job.encoders.image_size)
    text_encoder = bench.context.text_encoder(bench.job.encoders.text)
    model = bench.head()
    model.fit_statistics(bench.train.streams, bench.train.labels, bench.train.ratings)
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    order = np.random.default_rng(0).permutation(len(bench.train))[:samples]
    batches = np.array_split(order, max(1, len(order) // bench.context.runtime.batch_size))
    start = time.perf_counter()
    for rows in batches:
        features = {
            stream: image_encoder.encode(image_encoder.resize(np.array(split.images(stream)[rows])))
            for stream in split.streams
        }
        texts = [(place, text) for place, row in enumerate(rows) for text in _texts_of(split, row)]
        encoded = text_encoder.encode([text for _, text in texts])
        owner = torch.tensor([place for place, _ in texts])
        features["text"] = mean_by_sample(encoded.cpu(), owner, len(rows)).to(device)
        at = torch.from_numpy(rows).to(device)
        output = model({name: x.clone() for name, x in features.items()})
        loss = F.binary_cross_entropy_with_logits(output.logits, bench.train.labels[at])
        loss = loss + 0.5 * F.smooth_l1_loss(output.ratings, bench.train.ratings[at])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        loss.item()
    seconds = time.perf_counter() - start
    for name, x in features.items():
        if not torch.allclose(x, bench.train.streams[name][at], rtol=1e-3, atol=1e-3):
            raise AssertionError(f"the loops do not see the same {name} features: this compares nothing")
    return len(order) / seconds


def _texts_of(split: PreparedSplit, row: int) -> list[str]:
    return [split.texts[text] for text in np.flatnonzero(split.text_sample == row)]


def _finish(
    bench: Bench, ours: list[float], theirs: list[float], seconds_encoding: float, json: Path | None
) -> None:
    count, epochs = len(bench.train), TrainingConfig().filled(kind_of("emotion").schedule).epochs
    mine, peer = statistics.median(ours), statistics.median(theirs)
    first = count / (seconds_encoding + count / mine)
    whole = epochs * count / (seconds_encoding + epochs * count / mine)
    rows: list[dict[str, Any]] = [
        _row(
            "frozen backbones in every epoch (the notebooks' loop)", peer, count, f"median of {len(theirs)}"
        ),
        _row("mmer, from the second epoch on", mine, count, f"median of {len(ours)}"),
        _row("mmer, first epoch with the encoding before it", first, count, "once"),
    ]
    what = f"{count} people of synthetic EMOTIC, {bench.job.encoders.image}, mmer / notebooks' loop"
    ratios = {
        f"epoch throughput from the second epoch on, {what}": mine / peer,
        f"first epoch, {what}": first / peer,
        f"{epochs} epochs in all, {what}": whole / peer,
    }
    finish("training", rows, ratios, json)


def _row(loop: str, rate: float, count: int, measured: str) -> dict[str, Any]:
    return {"loop": loop, "samples/s": rate, "seconds an epoch": count / rate, "measured": measured}


if __name__ == "__main__":
    run_app(app)

"""Trained heads beside a linear probe on the same features, on drawn data sets and on labels from Flickr8k's captions.

    python -m benchmarks.heads --flickr8k DIR

Features are drawn directly, a signal among nuisances of a falling spectrum; the test split has 2,000 samples. The classes
of Flickr8k are who is in a photo by four of its captions; the text is the fifth. Differences are in percent, a family less
the probe on the same test samples, with 95 % intervals by random halves.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from cyclopts import App
from PIL import Image
from scipy.special import expit, softmax

from benchmarks.result import finish, run_app
from mmer_core.config import ARCHITECTURES, FAMILIES, EncoderConfig, ModelConfig, ProbeConfig, TrainingConfig
from mmer_core.encoders import load_image_encoder, load_text_encoder
from mmer_core.evaluation.calibration import f1_thresholds
from mmer_core.evaluation.class_metrics import class_counts
from mmer_core.evaluation.emotion_metrics import SortedScores
from mmer_core.models import ModelSpec, build_model
from mmer_core.models.capacity import capacity, with_capacity
from mmer_core.objectives.bce import BinaryCrossEntropy
from mmer_core.objectives.cross_entropy import CrossEntropy
from mmer_core.statistics.resampling import FloatArray, Statistic, resampled
from mmer_core.task_kinds import kind_of
from mmer_core.training.data import EmotionData
from mmer_core.training.linear_probe import fit_probe
from mmer_core.training.loop import fit, initialisation
from mmer_core.training.search import Settings, tries

app = App(name="benchmarks.heads", help=__doc__)
PEOPLE = (
    "dog dogs puppy",
    "child children kid kids boy girl boys girls toddler",
    "man men woman women lady",
)


class Drawn(NamedTuple):
    """A data set: signals by stream ``(N, k)`` and labels ``(N, C)`` from ``N`` and a generator; rows of train and val."""

    draw: Callable[[int, np.random.Generator], tuple[dict[str, FloatArray], FloatArray]]
    train: int
    val: int
    widths: dict[str, int]
    strength: float


def _chosen(logits: FloatArray, rng: np.random.Generator) -> FloatArray:
    """One class a row, by a softmax."""
    return np.eye(logits.shape[1])[(logits + rng.gumbel(size=logits.shape)).argmax(axis=1)]


def _weights(*shape: int) -> FloatArray:
    return np.random.default_rng(5).normal(size=shape)


def _classes(count: int, rng: np.random.Generator) -> tuple[dict[str, FloatArray], FloatArray]:
    hidden = rng.normal(size=(count, 16))
    labels = _chosen(0.9 * hidden @ _weights(16, 3) + [1.2, 0.4, -0.9], rng)
    return {"context": hidden[:, :10], "text": hidden[:, 6:]}, labels


def _one_modality(count: int, rng: np.random.Generator) -> tuple[dict[str, FloatArray], FloatArray]:
    hidden, noise = rng.normal(size=(2, count, 8))
    return {"context": noise, "text": hidden}, _chosen(1.2 * hidden @ _weights(8, 3) + [0.8, 0.0, -0.8], rng)


def _emotions(count: int, rng: np.random.Generator) -> tuple[dict[str, FloatArray], FloatArray]:
    hidden, shares = rng.normal(size=(count, 24)), np.geomspace(0.55, 0.01, 26)
    logits = hidden @ _weights(24, 26) / 24**0.5 * 2 + 1.4 * np.log(shares / (1 - shares))
    labels = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
    return {"context": hidden[:, :12], "body": hidden[:, 8:20], "text": hidden[:, 14:]}, labels


def _exclusive_or(count: int, rng: np.random.Generator) -> tuple[dict[str, FloatArray], FloatArray]:
    """Whether image and text agree in a sign; 5 % of the labels are wrong."""
    streams = rng.normal(size=(2, count, 6))
    streams[:, :, 0] = np.sign(streams[:, :, 0])
    agree = (streams[0, :, 0] == streams[1, :, 0]) ^ (rng.random(count) < 0.05)
    return {"context": streams[0], "text": streams[1]}, np.eye(2)[agree.astype(int)]


WIDTHS = {"context": 512, "text": 384}
WIDE = {"context": 1280, "text": 768}
SETS = {
    "3 unbalanced classes": Drawn(_classes, 2800, 400, WIDTHS, 0.6),
    "the same, 200 rows": Drawn(_classes, 200, 80, WIDTHS, 0.6),
    "the same, 1,000 rows, wide and noisy": Drawn(_classes, 1000, 250, WIDE, 0.35),
    "one informative modality": Drawn(_one_modality, 1000, 250, WIDTHS, 0.6),
    "26 labels, 55 to 1 %": Drawn(_emotions, 1500, 400, {"context": 512, "body": 512, "text": 384}, 0.6),
    "image XOR text": Drawn(_exclusive_or, 2500, 500, WIDTHS, 1.5),
}


def _seen(
    signal: FloatArray, width: int, strength: float, rng: np.random.Generator, mixing: int
) -> FloatArray:
    """``(N, width)`` features that show a signal ``(N, k)``."""
    fixed = np.random.default_rng(mixing)
    shown = fixed.normal(size=(signal.shape[1], width))
    spectrum = 3 * (1 + np.arange(min(width, 400))) ** -0.5
    nuisance = spectrum[:, None] * fixed.normal(size=(len(spectrum), width))
    features = strength * signal @ shown + rng.normal(size=(len(signal), len(spectrum))) @ nuisance
    return features + 0.3 * rng.normal(size=features.shape)


def drawn(one: Drawn, seed: int, test: int) -> list[EmotionData]:
    """The splits train, val and test."""
    rng, splits = np.random.default_rng(seed), []
    for count in (one.train, one.val, test):
        signals, labels = one.draw(count, rng)
        streams = {
            name: _seen(signal, one.widths[name], one.strength, rng, place)
            for place, (name, signal) in enumerate(signals.items())
        }
        splits.append(_data(streams, labels))
    return splits


def _data(streams: dict[str, Any], labels: FloatArray) -> EmotionData:
    return EmotionData(
        {name: torch.from_numpy(np.ascontiguousarray(x)).float() for name, x in streams.items()},
        torch.from_numpy(labels).float(),
        torch.zeros(len(labels), 0),
    )


def captioned(root: Path, train: int, val: int) -> list[EmotionData]:
    """Flickr8k: train and val from its train photos, test its dev photos."""
    captions: dict[str, list[str]] = defaultdict(list)
    with (root / "captions.txt").open() as file:
        for row in csv.DictReader(file):
            captions[row["image"]].append(row["caption"])
    photos = (root / "Flickr_8k.trainImages.txt").read_text().split()
    chosen = np.random.default_rng(0).permutation(photos)[: train + val].tolist()
    names = [*chosen, *(root / "Flickr_8k.devImages.txt").read_text().split()]
    image, text = (
        load_image_encoder("packaged:efficientnet_lite0", 224),
        load_text_encoder("packaged:all-MiniLM-L6-v2"),
    )
    seen = []
    for start in range(0, len(names), 64):
        pixels = [
            np.asarray(Image.open(root / "Images" / name).convert("RGB"))
            for name in names[start : start + 64]
        ]
        seen.append(image.encode(image.resize(np.stack(pixels))).numpy())
    streams = {
        "context": np.concatenate(seen),
        "text": text.encode([captions[name][0] for name in names]).numpy(),
    }
    labels = np.eye(len(PEOPLE) + 1)[[_who(captions[name][1:]) for name in names]]
    parts = np.split(np.arange(len(names)), [train, train + val])
    return [_data({name: x[rows] for name, x in streams.items()}, labels[rows]) for rows in parts]


def _who(captions: list[str]) -> int:
    """The first of `PEOPLE` that two captions name; else one more."""
    words = [set(re.findall(r"\w+", caption.lower())) for caption in captions]
    named = [sum(bool(one & set(who.split())) for one in words) >= 2 for who in PEOPLE]
    return [*named, True].index(True)


def _probe(splits: list[EmotionData], one_label: bool) -> list[FloatArray]:
    """Probabilities for val and test, with the C that is best on val."""
    train, val, test = splits
    widths = {name: x.shape[1] for name, x in train.streams.items()}
    objective = CrossEntropy() if one_label else BinaryCrossEntropy()
    fitted = fit_probe(train, val, widths, objective, ProbeConfig().strengths)
    return [fitted.probabilities(one) for one in (val, test)]


def _heads(
    splits: list[EmotionData], family: Any, task: str, training: TrainingConfig, model: ModelConfig
) -> list[FloatArray]:
    """Logits for val and test of the try that is best on val."""
    kind, settings = kind_of(task), training.filled(kind_of(task).schedule)
    joint = ModelSpec(
        task=task,
        family="joint",
        streams={name: x.shape[1] for name, x in splits[0].streams.items()},
        embedding=model.embedding or kind.width,
        hidden=model.hidden,
        dropout=kind.dropout if model.dropout is None else model.dropout,
        fusion=model.fusion or kind.fusion,
        labels=tuple(map(str, range(splits[0].labels.shape[1]))),
        dimensions=(),
        encoders=EncoderConfig(),
        dataset="drawn",
    )
    fusion = ARCHITECTURES[family].fusion or joint.fusion
    spec = with_capacity(joint.model_copy(update={"family": family, "fusion": fusion}), capacity(joint))
    best, found, learner = -np.inf, [], None
    wanted = Settings(settings.learning_rate, settings.weight_decay, spec.dropout)
    for chosen in tries(wanted, settings.tries, settings.seed):
        own = settings.model_copy(
            update={"learning_rate": chosen.learning_rate, "weight_decay": chosen.weight_decay}
        )
        with initialisation(settings.seed):
            network = build_model(spec.model_copy(update={"dropout": chosen.dropout}))
        learner = kind.learner(network, splits[0], splits[1], own, learner)
        value = fit(learner, own, device=torch.device("cpu")).best_value
        if value > best:
            with torch.inference_mode():
                best, found = value, [network(one.streams).logits.double().numpy() for one in splits[1:]]
    return found


def _statistic(scores: list[FloatArray], splits: list[EmotionData], one_label: bool) -> Statistic:
    """Of test: mAP, macro-F1 and, where samples have one label, accuracy, in percent."""
    val, test = (one.labels.numpy().astype(int) for one in splits[1:])
    rankings = [SortedScores(score, label) for score, label in zip(scores[1].T, test.T, strict=True)]
    said = scores[1] >= f1_thresholds(scores[0], val)

    def statistic(weights: FloatArray) -> FloatArray:
        ap = np.nanmean([one.average_precision(weights) for one in rankings], axis=0)
        if one_label:
            counts = class_counts(scores[1].argmax(axis=1), test.argmax(axis=1), test.shape[1], weights)
            accuracy, _, macro, _ = counts.averages()
            return 100 * np.stack([ap, macro, accuracy])
        right, total = (said & (test > 0)).T @ weights, said.T @ weights + test.T @ weights
        return 100 * np.stack([ap, (2 * right / np.maximum(total, 1)).mean(axis=0)])

    return statistic


def measured(
    name: str, splits: list[EmotionData], training: TrainingConfig, model: ModelConfig
) -> list[dict[str, Any]]:
    """A row for the probe and for each family."""
    one_label = bool((splits[0].labels.sum(dim=1) == 1).all())
    found = {"probe": _probe(splits, one_label)}
    for family in FAMILIES:
        logits = _heads(splits, family, "classification" if one_label else "emotion", training, model)
        found[family] = [softmax(one, axis=1) for one in logits] if one_label else [*map(expit, logits)]
    statistics = {which: _statistic(scores, splits, one_label) for which, scores in found.items()}
    rows: list[dict[str, Any]] = []
    whole = np.ones((len(splits[2]), 1))
    for which, statistic in statistics.items():
        less = lambda weights, own=statistic: own(weights) - statistics["probe"](weights)  # noqa: E731
        intervals = [] if which == "probe" else resampled(less, len(splits[2]), 1000, 0).intervals(0.95)
        row: dict[str, Any] = {"data": name, "model": which}
        for place, metric in enumerate(("mAP", "macro-F1", "accuracy")):
            values = statistic(whole)[:, 0]
            row[metric] = f"{values[place]:.1f}" if place < len(values) else ""
            row[f"{metric} less the probe's"] = _interval(intervals[place]) if place < len(intervals) else ""
        rows.append(row)
    return rows


def _interval(one: Any) -> str:
    return f"{one.value:+.1f} ({one.low:+.1f} to {one.high:+.1f})"


@app.default
def main(
    *,
    flickr8k: Path | None = None,
    seed: int = 0,
    quick: bool = False,
    json: Path | None = None,
    training: TrainingConfig = TrainingConfig(),
    model: ModelConfig = ModelConfig(),
) -> None:
    """Fit the probe, train both families and print what each reaches on test.

    Parameters
    ----------
    flickr8k:
        Folder of a Flickr8k download, of which 1,500 photos are labelled; without it there are drawn data sets only.
    seed:
        Of the drawn data.
    quick:
        A smoke test: 200 rows, one try.
    json:
        File for the figures.
    """
    if quick:
        training = training.model_copy(update={"tries": 1, "epochs": 3})
    few = "the same, 200 rows"
    rows = [
        row
        for name, one in SETS.items()
        if not quick or name == few
        for row in measured(name, drawn(one, seed, 300 if quick else 2000), training, model)
    ]
    if flickr8k is not None and not quick:
        rows += measured("who is in a photo of Flickr8k", captioned(flickr8k, 1200, 300), training, model)
    finish("heads", rows, {}, json)


if __name__ == "__main__":
    run_app(app)

"""What `benchmarks.growth` measures: each analysis on drawn arrays of a size, prepared and then run."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from scipy.special import expit

from mmer_core.attacks.criteria import image_bars
from mmer_core.config import EncoderConfig, EvaluationConfig, TaskTraining
from mmer_core.datasets.leakage import Fingerprint, compare_splits
from mmer_core.evaluation.analyses import emotion_spaces, retrieval_spaces
from mmer_core.evaluation.calibration import PlattScaling, f1_thresholds
from mmer_core.evaluation.comparing import Asked, compare_emotions, compare_retrieval
from mmer_core.evaluation.contribution import coalitions, stream_contributions
from mmer_core.evaluation.evaluate import evaluate_emotion, evaluate_retrieval
from mmer_core.evaluation.matching import caption_contribution, match_people
from mmer_core.evaluation.retrieval_metrics import similarity_ranks
from mmer_core.evaluation.word_similarity import word_similarities
from mmer_core.matrix import FileRows, StoredRows
from mmer_core.models import EmotionModel, ModelSpec, RetrievalModel, build_model
from mmer_core.objectives.bce import BinaryCrossEntropy
from mmer_core.poisoning.detectors import (
    activation_clustering,
    deep_knn,
    pair_dissimilarity,
    spectral_signatures,
)
from mmer_core.querying.spelling import Spellings
from mmer_core.retrieval.building import join_shards, train, write_shard
from mmer_core.retrieval.choice import choose, training_rows
from mmer_core.stages.poison.judging import retrieves
from mmer_core.stages.poison.similarities import Change, distances, word_drops
from mmer_core.statistics.comparison import Rule
from mmer_core.training.data import EmotionData, RetrievalData
from mmer_core.training.emotion_learner import EmotionLearner
from mmer_core.training.linear_probe import fit_probe
from mmer_core.training.loop import fit, initialisation
from mmer_core.training.retrieval_learner import RetrievalLearner

WIDTH, LABELS, CAPTIONS = 32, 6, 2
WIDE = 1024
"""Of features that stay on disk: a block of them, which is held in any case, has few rows."""
NAMES = tuple(f"label {number}" for number in range(LABELS))
SETTINGS = EvaluationConfig(resamples=50)
VAL = 2_000
"""Samples of val, whatever the size: what grows is train."""


@dataclass(frozen=True)
class Analysis:
    """``prepare(size)`` draws the data, and gives what is measured."""

    name: str
    sizes: tuple[int, int, int]
    prepare: Callable[[int], Callable[[], Any]]


def _rng(size: int) -> np.random.Generator:
    return np.random.default_rng(size)


def _rows(size: int, width: int = WIDTH) -> np.ndarray:
    return _rng(size).normal(size=(size, width)).astype(np.float32)


def _labels(size: int) -> np.ndarray:
    return (_rng(size + 1).random((size, LABELS)) < 0.2).astype(np.float32)


def _scores(size: int, seed: int = 2) -> np.ndarray:
    return expit(_rng(size + seed).normal(size=(size, LABELS)) + 2 * _labels(size) - 1)


def _hashes(size: int, alike: bool) -> Callable[[], Any]:
    drawn = _rng(size).integers(0, 256, (2, size, 8), dtype=np.uint8)
    drawn[1, ::100] = drawn[0, ::100]
    if alike:
        drawn[:] = 1
    splits = {
        name: [(str(n), Fingerprint(f"{name}{n}".encode(), own)) for n, own in enumerate(rows)]
        for name, rows in zip(("train", "test"), drawn, strict=True)
    }
    return lambda: compare_splits(splits)


def _emotions(size: int) -> Callable[[], Any]:
    ratings = _rng(size).uniform(1, 10, (size, 3))
    arguments = _scores(size), ratings + 1, _labels(size), ratings, np.full(LABELS, 0.5), NAMES, SETTINGS
    return lambda: evaluate_emotion(*arguments)


def _pairs(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images = _rows(size)
    owner = np.repeat(np.arange(size), CAPTIONS)
    return (
        images,
        images[owner] + 2 * _rng(size + 1).normal(size=(len(owner), WIDTH)).astype(np.float32),
        owner,
    )


def _retrieval(size: int) -> Callable[[], Any]:
    images, texts, owner = _pairs(size)
    return lambda: evaluate_retrieval(images, texts, owner, SETTINGS)


def _compared_recalls(size: int) -> Callable[[], Any]:
    images, texts, owner = _pairs(size)
    ranks = [[similarity_ranks(images + noise, texts, owner)] for noise in (0, _rows(size + 1)[:-1])]
    asked = Asked("", "")
    return lambda: compare_retrieval(("a", "b"), (ranks[0], ranks[1]), owner, Rule(resamples=50), asked)


def _compared_emotions(size: int) -> Callable[[], Any]:
    scores, labels = ([_scores(size, 2)], [_scores(size, 3)]), _labels(size)
    return lambda: compare_emotions(("a", "b"), scores, labels, NAMES, Rule(resamples=50), Asked("", ""))


def _retrieval_spaces(size: int) -> Callable[[], Any]:
    images, texts, owner = _pairs(size)
    return lambda: retrieval_spaces(images, texts, owner, {})


def _emotion_spaces(size: int) -> Callable[[], Any]:
    streams = {"context": _rows(size), "text": _rows(size + 1)[:-1]}
    return lambda: emotion_spaces(streams, _labels(size), SETTINGS, shared=True)


def _contributions(size: int) -> Callable[[], Any]:
    predicted = {members: _scores(size, len(members)) for members in coalitions(("context", "text"))}
    return lambda: stream_contributions(predicted, _labels(size), NAMES, SETTINGS, None)


def _words(size: int) -> Callable[[], Any]:
    rng = _rng(size)
    texts = [" ".join(f"w{word}" for word in row) for row in rng.zipf(1.5, (size, 6)) % 3000]
    return lambda: word_similarities(rng.random(size), texts, np.arange(size), SETTINGS)


def _people_matched(size: int) -> Callable[[], Any]:
    images, texts = _rows(size), _rows(size // 2 + 1)
    which = np.arange(size) // 2
    names = [f"text {number}" for number in which]
    return lambda: match_people(images[:size], texts[which], names, SETTINGS)


def _captions_added(size: int) -> Callable[[], Any]:
    images, texts, owner = _pairs(size)
    return lambda: caption_contribution(images, texts, owner, SETTINGS)


def _drops(size: int) -> Callable[[], Any]:
    rng = _rng(size)
    texts = [" ".join(f"w{word}" for word in row) for row in rng.zipf(1.5, (size, 6)) % 3000]
    change = Change("joint", "backdoor", 1, rng.random((2, size)), rng.random((2, size)))
    return lambda: (word_drops([change], texts, np.arange(size)), distances([change]))


def _bars(size: int) -> Callable[[], Any]:
    images, texts = torch.from_numpy(_rows(size)), torch.from_numpy(_rows(1_000))
    return lambda: image_bars(texts, images, torch.arange(1_000), 10)


def _calibration(size: int) -> Callable[[], Any]:
    logits, labels = _rng(size).normal(size=(size, LABELS)), _labels(size)
    return lambda: f1_thresholds(PlattScaling.fit(logits, labels).probabilities(logits), labels)


def _judged(size: int) -> Callable[[], Any]:
    images, texts, _ = _pairs(size)
    wanted = np.arange(len(texts)) % 50 == 0
    return lambda: retrieves(images[:10_000], texts, wanted, 5)


def _index(size: int) -> Callable[[], Any]:
    vectors = _rows(size, 64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    faiss.omp_set_num_threads(1)

    def run() -> None:
        choice = choose(size, 64, memory=2**34, recall=0.95)
        with tempfile.TemporaryDirectory() as name:
            sample = vectors[: training_rows(size, choice.factory)]
            shard = Path(name) / "shard"
            shard.mkdir()
            write_shard(shard, train(choice, sample, size), vectors, 0, choice.refine > 0)
            join_shards(Path(name), "image", choice, train(choice, sample, size), [shard], choice.refine > 0)

    return run


def _data(size: int) -> EmotionData:
    features = {
        name: torch.from_numpy(_rows(size + place)[:size]) for place, name in enumerate(("context", "text"))
    }
    return EmotionData(features, torch.from_numpy(_labels(size)), torch.zeros(size, 0))


def _probe(size: int) -> Callable[[], Any]:
    train_data, val = _data(size), _data(VAL)
    widths = dict.fromkeys(("context", "text"), WIDTH)
    return lambda: fit_probe(train_data, val, widths, BinaryCrossEntropy(), (1.0,))


_TRAINING = TaskTraining(epochs=2, patience=2, batch_size=256, learning_rate=1e-3)


def _spec(task: str, width: int = WIDTH, **fields: Any) -> ModelSpec:
    streams = dict.fromkeys(("context", "text"), width)
    common = {"embedding": 16, "hidden": 16, "dropout": 0.1, "encoders": EncoderConfig(), "dataset": "drawn"}
    return ModelSpec(task=task, family="joint", streams=streams, **common, **fields)


def _emotion_training(size: int) -> Callable[[], Any]:
    train_data, val = _data(size), _data(VAL)

    def run() -> None:
        with initialisation(0):
            model = build_model(_spec("emotion", labels=NAMES, dimensions=(), fusion="mean"))
        assert isinstance(model, EmotionModel)
        fit(EmotionLearner(model, train_data, val, _TRAINING), _TRAINING, device=torch.device("cpu"))

    return run


def _drawn_pairs(size: int) -> RetrievalData:
    images, texts, owner = map(torch.from_numpy, _pairs(size))
    return RetrievalData(images, texts, owner, [""] * len(texts))


def _trained_pairs(train_data: RetrievalData, val: RetrievalData, width: int = WIDTH) -> None:
    settings = _TRAINING.model_copy(update={"contrastive": "grouped_infonce"})
    with initialisation(0):
        model = build_model(_spec("retrieval", width, heads=1))
    assert isinstance(model, RetrievalModel)
    fit(RetrievalLearner(model, train_data, val, settings), settings, device=torch.device("cpu"))


def _retrieval_training(size: int) -> Callable[[], Any]:
    train_data, val = _drawn_pairs(size), _drawn_pairs(VAL)
    return lambda: _trained_pairs(train_data, val)


def _streamed_training(size: int) -> Callable[[], Any]:
    folder = tempfile.TemporaryDirectory()
    stored = []
    for name in ("images", "texts"):
        path = Path(folder.name) / f"{name}.npy"
        np.save(path, _rows(size, WIDE))
        stored.append(StoredRows(FileRows(np.load(path, mmap_mode="r"))))
    images, texts = stored
    data = RetrievalData(images, texts, torch.arange(size), [""] * size)
    small = torch.from_numpy(_rows(VAL, WIDE))
    val = RetrievalData(small, small, torch.arange(VAL), [""] * VAL)

    def run() -> None:
        with folder:
            _trained_pairs(data, val, WIDE)

    return run


def _detector(
    score: Callable[[np.ndarray, np.ndarray], Any], width: int = 16
) -> Callable[[int], Callable[[], Any]]:
    def prepare(size: int) -> Callable[[], Any]:
        features, labels = _rows(size, width), (_rng(size).random(size) < 0.2).astype(np.int64)
        return lambda: score(features, labels)

    return prepare


def _spellings(size: int) -> Callable[[], Any]:
    ids = [f"{number:x}.jpg" for number in _rng(size).integers(0, 2**60, size)]
    return lambda: Spellings(ids).near("abcdef.jpg")


ANALYSES = (
    Analysis("leaks, different hashes", (60_000, 120_000, 240_000), lambda size: _hashes(size, alike=False)),
    Analysis("leaks, hashes all alike", (120_000, 240_000, 480_000), lambda size: _hashes(size, alike=True)),
    Analysis("emotion metrics with intervals", (60_000, 180_000, 540_000), _emotions),
    Analysis("retrieval metrics with intervals", (30_000, 90_000, 270_000), _retrieval),
    Analysis("two emotion models compared", (60_000, 180_000, 540_000), _compared_emotions),
    Analysis("two retrieval models compared", (15_000, 30_000, 60_000), _compared_recalls),
    Analysis("emotion spaces", (15_000, 30_000, 60_000), _emotion_spaces),
    Analysis("retrieval spaces", (15_000, 30_000, 60_000), _retrieval_spaces),
    Analysis("contributions of streams", (60_000, 180_000, 540_000), _contributions),
    Analysis("words of captions", (60_000, 180_000, 540_000), _words),
    Analysis("people matched with texts", (30_000, 60_000, 120_000), _people_matched),
    Analysis("image and caption of a photo", (15_000, 30_000, 60_000), _captions_added),
    Analysis("similarity drops by word", (60_000, 180_000, 540_000), _drops),
    Analysis("image bars of 1,000 captions", (50_000, 150_000, 450_000), _bars),
    Analysis("calibration and thresholds", (450_000, 1_350_000, 4_050_000), _calibration),
    Analysis("linear probe", (90_000, 270_000, 810_000), _probe),
    Analysis("training of labels", (90_000, 270_000, 810_000), _emotion_training),
    Analysis("training of pairs", (30_000, 90_000, 270_000), _retrieval_training),
    Analysis("training of pairs, features on disk", (40_000, 80_000, 160_000), _streamed_training),
    Analysis("index of vectors", (40_000, 160_000, 640_000), _index),
    Analysis("spellings of ids", (50_000, 150_000, 450_000), _spellings),
    Analysis("poisoned captions judged", (24_000, 48_000, 96_000), _judged),
    Analysis("detector deep-knn", (24_000, 48_000, 96_000), _detector(deep_knn)),
    Analysis("detector clustering", (60_000, 180_000, 540_000), _detector(activation_clustering)),
    Analysis("detector spectral", (150_000, 450_000, 1_350_000), _detector(spectral_signatures)),
    Analysis(
        "detector similarity",
        (450_000, 1_350_000, 4_050_000),
        _detector(lambda rows, _: pair_dissimilarity(rows, rows)),
    ),
)

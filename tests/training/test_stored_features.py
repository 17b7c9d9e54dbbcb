"""Features that stay on disk: the same bits as in memory, and a bounded number of rows at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.toy_training import config, emotion_data, retrieval_data, same, spec

from mmer_core import matrix
from mmer_core.matrix import FileRows, MeanRows, StoredRows, blocks, joined, mean_by_sample, replaced, taken
from mmer_core.models import build_model
from mmer_core.models.layers import Standardise
from mmer_core.objectives.bce import BinaryCrossEntropy
from mmer_core.objectives.cross_entropy import CrossEntropy
from mmer_core.training.emotion_learner import EmotionLearner
from mmer_core.training.linear_probe import fit_probe
from mmer_core.training.loop import fit, initialisation
from mmer_core.training.retrieval_learner import RetrievalLearner

COUNT = 90
HELD = 40
"""Rows of a block, and more than a batch."""


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks of each matrix, whatever its width."""
    monkeypatch.setattr(matrix, "VALUES_AT_ONCE", 200)


@pytest.fixture
def read(monkeypatch):
    """How many rows each look into a file reads."""
    sizes = []
    whole = FileRows.read

    def counted(self, rows):
        sizes.append(len(rows))
        return whole(self, rows)

    monkeypatch.setattr(FileRows, "read", counted)
    return sizes


def on_disk(rows: torch.Tensor, folder) -> StoredRows:
    folder.mkdir(exist_ok=True)
    path = folder / f"{len(list(folder.iterdir()))}.npy"
    np.save(path, rows.numpy())
    return StoredRows(FileRows(np.load(path, mmap_mode="r")))


def emotions_on_disk(data, folder):
    streams = {name: on_disk(rows, folder) for name, rows in data.streams.items()}
    return replace(data, streams=streams, scratch=folder / "scratch")


def pairs_on_disk(data, folder):
    return replace(data, images=on_disk(data.images, folder), texts=on_disk(data.texts, folder))


def emotions(tmp_path):
    kept = [emotion_data(COUNT, seed) for seed in (1, 2)]
    # A tenth of the people has no body.
    kept = [replace(one, present={"body": torch.arange(COUNT) % 10 > 0}) for one in kept]
    return kept, [emotions_on_disk(one, tmp_path / str(n)) for n, one in enumerate(kept)], EmotionLearner


def pairs(tmp_path):
    kept = [retrieval_data(COUNT, seed, per_image=3) for seed in (1, 2)]
    return kept, [pairs_on_disk(one, tmp_path / str(n)) for n, one in enumerate(kept)], RetrievalLearner


@pytest.mark.parametrize(
    ("task", "family", "data"),
    [
        ("emotion", "joint", emotions),
        ("emotion", "separate-weighted", emotions),
        ("retrieval", "joint", pairs),
        ("retrieval", "separate", pairs),
    ],
)
def test_a_training_gives_the_same_bits_and_reads_a_block_at_a_time(
    tmp_path, small_blocks, read, task, family, data
):
    in_memory, stored, learns = data(tmp_path)
    training = config(
        epochs=3, patience=3, contrastive="grouped_infonce" if task == "retrieval" else "infonce"
    )
    trained = []
    for train, val in (in_memory, stored):
        with initialisation(0):
            model = build_model(spec(task, family))
        learner = learns(model, train, val, training)
        trained.append((learner, fit(learner, training, device=torch.device("cpu"))))
    (one, first), (other, second) = trained
    assert same(one.state, other.state)
    assert first.history == second.history
    assert 0 < max(read) <= HELD < COUNT


@pytest.mark.parametrize("objective", ["bce", "balanced"])
def test_a_probe_in_blocks_is_that_of_all_samples_at_once(tmp_path, monkeypatch, read, objective):
    train, val = (emotion_data(60, seed) for seed in (1, 2))
    if objective == "balanced":
        train, val = (replace(one, labels=torch.eye(4)[one.labels.argmax(dim=1)]) for one in (train, val))
    widths = {name: rows.shape[1] for name, rows in train.streams.items()}
    found = []
    for size, data in (
        (2**25, (train, val)),
        (300, (train, val)),
        (300, tuple(emotions_on_disk(one, tmp_path / str(n)) for n, one in enumerate((train, val)))),
    ):
        monkeypatch.setattr(matrix, "VALUES_AT_ONCE", size)
        compared = BinaryCrossEntropy() if objective == "bce" else CrossEntropy(weights="balanced")
        compared.fit(train.labels)
        found.append(fit_probe(*data, widths, compared, (0.1, 1.0)))
    whole, in_blocks, stored = found
    assert max(read) < 60
    assert torch.equal(in_blocks.weights, stored.weights)
    assert torch.equal(in_blocks.intercepts, stored.intercepts)
    torch.testing.assert_close(in_blocks.weights, whole.weights, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(in_blocks.probabilities(val), whole.probabilities(val), atol=1e-4)


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 1000))
def test_statistics_in_blocks_are_those_of_numpy(rows, values, seed):
    features = np.random.default_rng(seed).normal(3, 2, (rows, 4)).astype(np.float32)
    layer = Standardise(4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrix, "VALUES_AT_ONCE", values)
        layer.fit(torch.from_numpy(features))
    np.testing.assert_allclose(layer.mean, features.mean(axis=0), rtol=1e-5)
    spread = features.std(axis=0, ddof=min(1, rows - 1))
    np.testing.assert_allclose(layer.std, np.where(spread > 1e-6, spread, 1), rtol=1e-4)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(0, 1000))
def test_means_of_some_samples_are_those_of_all(owner, seed):
    rng = np.random.default_rng(seed)
    texts = rng.normal(size=(len(owner), 3)).astype(np.float32)
    expected = mean_by_sample(torch.from_numpy(texts), torch.tensor(owner), 10)
    asked = torch.from_numpy(rng.integers(0, 10, 7))
    stored = StoredRows(MeanRows(FileRows(texts), np.array(owner), 10))
    assert torch.equal(stored[asked], expected[asked])


@settings(max_examples=30)
@given(st.data())
def test_rows_are_taken_replaced_and_joined_as_those_of_a_tensor(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    array = rng.normal(size=(8, 3)).astype(np.float32)
    kept, stored = torch.from_numpy(array), StoredRows(FileRows(array))
    for _ in range(data.draw(st.integers(0, 4))):
        values = torch.from_numpy(rng.normal(size=(3, 3)).astype(np.float32))
        match data.draw(st.sampled_from(("taken", "replaced", "joined"))):
            case "taken":
                rows = torch.from_numpy(rng.integers(0, len(kept), 6))
                kept, stored = taken(kept, rows), taken(stored, rows)
            case "replaced":
                places = torch.from_numpy(rng.choice(len(kept), 3, replace=False))
                kept, stored = replaced(kept, places, values), replaced(stored, places, values)
            case "joined":
                kept, stored = joined(kept, values), joined(stored, values)
    assert stored.shape == tuple(kept.shape)
    assert torch.equal(torch.cat(list(blocks(stored))), kept)

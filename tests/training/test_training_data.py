"""From files to tensors."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmer_core.datasets.prepared import CARD_FILE, DatasetSummary, Prepared, PreparedSplit
from mmer_core.encoders.features import FEATURES_FILE, Features
from mmer_core.matrix import mean_by_sample
from mmer_core.training.data import EmotionData, RetrievalData

COUNT, OWNERS = 6, [2, 0, 0, 5, 2, 2, 1]
RNG = np.random.default_rng(0)
ARRAYS = {name: RNG.normal(size=(COUNT, 3)).astype(np.float32) for name in ("context", "body")}
TEXT = RNG.normal(size=(len(OWNERS), 4)).astype(np.float32)
LABELS = (RNG.random((COUNT, 5)) < 0.4).astype(np.float32)
VAD = RNG.uniform(1, 10, (COUNT, 3)).astype(np.float32)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Features, PreparedSplit]:
    for name, array in ARRAYS.items():
        np.save(tmp_path / f"train_{name}.npy", array)
        np.save(tmp_path / f"train_{name}_arr.npy", np.zeros((COUNT, 2, 2, 3), dtype=np.uint8))
    np.save(tmp_path / "train_text.npy", TEXT)
    np.save(tmp_path / "train_cat_arr.npy", LABELS)
    np.save(tmp_path / "train_cont_arr.npy", VAD)
    texts = {"Sample": OWNERS, "Text": [f"text {i}" for i in range(len(OWNERS))], "Provenance": "dataset"}
    pd.DataFrame(texts).to_csv(tmp_path / "train_texts.csv", index=False)
    people = {"Id": range(COUNT), "Filename": [f"{i // 2}.jpg" for i in range(COUNT)]}  # two a photo
    pd.DataFrame(people).to_csv(tmp_path / "train.csv", index=False)
    (tmp_path / FEATURES_FILE).write_text(json.dumps({"context": 3, "body": 3, "text": 4}))
    DatasetSummary(
        name="toy", task="emotion", labels=tuple("abcde"), counts={"train": COUNT}, texts={"train": 7}, quarantined={},
        inputs=COUNT, protocol="p", synthetic=True,
    ).write(tmp_path / CARD_FILE)  # fmt: skip
    return Features(tmp_path), Prepared.open(tmp_path).split("train")


@given(st.lists(st.booleans(), min_size=COUNT, max_size=COUNT))
@settings(max_examples=15)
def test_image_features_go_to_the_samples_that_have_an_image(tmp_path_factory, has_image):
    folder = tmp_path_factory.mktemp("some")
    shown = [row for row, has in enumerate(has_image) if has]
    for name, array in ARRAYS.items():
        np.save(folder / f"train_{name}.npy", array[: len(shown)])
        if shown:
            np.save(folder / f"train_{name}_arr.npy", np.zeros((len(shown), 2, 2, 3), dtype=np.uint8))
    np.save(folder / "train_text.npy", TEXT)
    np.save(folder / "train_cat_arr.npy", LABELS)
    pd.DataFrame({"Image Size": ["[2, 2]" if has else "" for has in has_image]}).to_csv(folder / "train.csv")
    texts = {"Sample": OWNERS, "Text": "t", "Provenance": "dataset"}
    pd.DataFrame(texts).to_csv(folder / "train_texts.csv", index=False)
    card = DatasetSummary(
        name="toy", task="emotion", labels=tuple("abcde"), counts={"train": COUNT}, texts={"train": 7}, quarantined={},
        inputs=COUNT, protocol="p", synthetic=True,
    )  # fmt: skip
    loaded = EmotionData.load(Features(folder), PreparedSplit(folder, "train", card))
    assert set(loaded.streams) == ({"context", "body", "text"} if shown else {"text"})
    for name in set(loaded.streams) - {"text"}:
        expected = np.zeros((COUNT, 3), np.float32)
        for place, row in enumerate(shown):
            expected[row] = ARRAYS[name][place]
        assert np.array_equal(loaded.streams[name].numpy(), expected)
        there = loaded.present.get(name, torch.ones(COUNT, dtype=torch.bool))
        assert there.tolist() == has_image


def loop_mean(features: np.ndarray, owners: list[int], count: int) -> np.ndarray:
    rows = []
    for sample in range(count):
        own = [feature for feature, owner in zip(features, owners, strict=True) if owner == sample]
        rows.append(np.mean(own, axis=0) if own else np.zeros(features.shape[1]))
    return np.array(rows)


@given(st.data())
@settings(max_examples=30)
def test_the_mean_by_sample_is_that_of_a_loop(data):
    count = data.draw(st.integers(1, 8))
    owners = data.draw(st.lists(st.integers(0, count - 1), max_size=20))
    features = np.random.default_rng(len(owners)).normal(size=(len(owners), 3)).astype(np.float32)
    found = mean_by_sample(torch.from_numpy(features), torch.tensor(owners, dtype=torch.int64), count)
    np.testing.assert_allclose(found.numpy(), loop_mean(features, owners, count), rtol=1e-5, atol=1e-6)


def test_emotion_data_are_the_files(folders):
    data = EmotionData.load(*folders)
    assert len(data) == COUNT
    assert list(data.streams) == ["context", "body", "text"]
    for name, array in ARRAYS.items():
        assert np.array_equal(data.streams[name].numpy(), array)
    np.testing.assert_allclose(data.streams["text"].numpy(), loop_mean(TEXT, OWNERS, COUNT), rtol=1e-5)
    assert list(data.present) == ["text"]  # images are there for all
    assert data.present["text"].tolist() == [sample in OWNERS for sample in range(COUNT)]
    some = data.rows(torch.tensor([4, 0]))
    assert np.array_equal(some.streams["body"].numpy(), ARRAYS["body"][[4, 0]])
    assert np.array_equal(some.labels.numpy(), LABELS[[4, 0]])
    assert np.array_equal(some.ratings.numpy(), VAD[[4, 0]])
    assert some.present["text"].tolist() == [False, True]
    assert data.clusters.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.selected(torch.tensor([4, 0])).clusters.tolist() == [2, 0]
    assert np.array_equal(data.labels.numpy(), LABELS)
    assert np.array_equal(data.ratings.numpy(), VAD)


def test_retrieval_data_keep_every_text_with_its_image(folders):
    data = RetrievalData.load(*folders)
    assert len(data) == COUNT
    assert np.array_equal(data.images.numpy(), ARRAYS["context"])
    assert np.array_equal(data.texts.numpy(), TEXT)
    assert data.text_image.tolist() == OWNERS
    assert data.captions == [f"text {i}" for i in range(len(OWNERS))]

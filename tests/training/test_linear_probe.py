"""Training starts from the linear probe, and heads find what it cannot see."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score
from sklearn.preprocessing import StandardScaler
from support.toy_training import CPU, config, emotion_data, random_heads, spec, without_texts

from mmer_core.config import ProbeConfig
from mmer_core.evaluation.emotion_metrics import mean_average_precision
from mmer_core.models import build_model
from mmer_core.objectives.bce import BinaryCrossEntropy
from mmer_core.objectives.cross_entropy import CrossEntropy
from mmer_core.task_kinds import kind_of
from mmer_core.training.data import EmotionData
from mmer_core.training.linear_probe import fit_probe
from mmer_core.training.loop import fit


def fresh(task: str, family: str, train: EmotionData, val: EmotionData, **fields: Any) -> Any:
    torch.manual_seed(0)
    streams = {name: x.shape[1] for name, x in train.streams.items()}
    labels = tuple(map(str, range(train.labels.shape[1])))
    own = {"task": task, "streams": streams, "labels": labels} | fields
    model = build_model(spec("emotion", family).model_copy(update=own))
    learner = kind_of(task).learner(model, train, val, config())
    learner.state.eval()
    return learner


def one_label(data: EmotionData, classes: int = 3) -> EmotionData:
    chosen = (data.ratings * torch.tensor([1.0, 0.9, 1.1]))[:, :classes].argmax(dim=1)
    return replace(data, labels=torch.nn.functional.one_hot(chosen, classes).float())


def scikit_learns(train: EmotionData, val: EmotionData, seen: EmotionData, *, several: bool) -> np.ndarray:
    """Probabilities of the logistic regression that is best on val."""

    def beside(data: EmotionData) -> np.ndarray:
        streams = {name: x.double().numpy().copy() for name, x in data.streams.items()}
        for name, there in data.present.items():
            streams[name][~there.numpy()] = np.nan
        return np.hstack(list(streams.values()))

    scaler = StandardScaler().fit(beside(train))
    x, on_val, y = (np.nan_to_num(scaler.transform(beside(data))) for data in (train, val, seen))
    truth = train.labels.numpy()
    found = []
    for strength in ProbeConfig().strengths:
        peers = [
            LogisticRegression(C=strength, max_iter=9000, tol=1e-9).fit(x, target)
            for target in (truth.T if several else [truth.argmax(axis=1)])
        ]

        def probabilities(rows: np.ndarray, peers: list[Any] = peers) -> np.ndarray:
            each = [one.predict_proba(rows) for one in peers]
            return np.column_stack([one[:, 1] for one in each]) if several else each[0]

        found.append((mean_average_precision(probabilities(on_val), val.labels.numpy()), probabilities(y)))
    return max(found, key=lambda one: one[0])[1]


@pytest.mark.parametrize("family", ["separate", "joint"])
@pytest.mark.parametrize(("task", "classes"), [("emotion", 4), ("classification", 2), ("classification", 3)])
def test_a_fresh_model_is_scikit_learns_logistic_regression(task, classes, family):
    splits = [without_texts(emotion_data(count, seed), 0.2) for seed, count in enumerate((150, 60, 40))]
    splits[2].streams["body"][:5, 3] = 1e3  # far from all of train
    if task == "classification":
        splits = [one_label(data, classes) for data in splits]
    expected = scikit_learns(*splits, several=task == "emotion")
    model = fresh(task, family, *splits[:2]).model
    with torch.inference_mode():
        logits = model(splits[2].streams, splits[2].present).logits.double().numpy()
    predicted = expit(logits) if task == "emotion" else softmax(logits, axis=1)
    assert np.abs(predicted - expected).max() < 1e-4


def fitted(x: np.ndarray, labels: np.ndarray, *, one_label: bool) -> np.ndarray:
    """Probabilities of a probe with C = 1 for what it was fitted on."""
    data = EmotionData(
        {"text": torch.from_numpy(x)}, torch.from_numpy(labels).float(), torch.zeros(len(x), 0)
    )
    objective = CrossEntropy() if one_label else BinaryCrossEntropy()
    return fit_probe(data, data, {"text": x.shape[1]}, objective, (1.0,)).probabilities(data)


@pytest.mark.parametrize("classes", [(0, 2), (1,)])
def test_a_label_that_train_never_shows_gets_no_probability(classes):
    rng = np.random.default_rng(0)
    x = StandardScaler().fit_transform(rng.normal(size=(60, 3)))
    target = np.array(classes)[(x[:, 0] > 0).astype(int) % len(classes)]
    found = fitted(x, np.eye(3)[target], one_label=True)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert not found[:, sorted({0, 1, 2} - {*classes})].any()
    if len(classes) == 2:
        peer = LogisticRegression(tol=1e-9).fit(x, target).predict_proba(x)
        np.testing.assert_allclose(found[:, classes], peer, atol=1e-5)


def test_a_category_that_is_always_or_never_there_is_constant():
    x = np.random.default_rng(0).normal(size=(20, 2))
    labels = np.stack([np.ones(20), np.zeros(20), x[:, 0] > 0], axis=1)
    found = fitted(x, labels, one_label=False)
    assert (found[:, 0] == 1).all()
    assert (found[:, 1] == 0).all()
    assert ((found[:, 2] > 0.5) == (x[:, 0] > 0)).mean() > 0.9


def test_features_are_standardised_on_train_and_a_constant_one_is_only_centred():
    def data(x: list[list[float]]) -> EmotionData:
        labels = torch.tensor([[1.0], [0.0]])[: len(x)]
        return EmotionData({"text": torch.tensor(x)}, labels, torch.zeros(len(x), 0))

    train, other = data([[1.0, 5], [3, 5]]), data([[4.0, 6]])
    probe = fit_probe(train, other, {"text": 2}, BinaryCrossEntropy(), (1.0,))
    assert (probe.mean.tolist(), probe.scale.tolist()) == ([2, 5], [1, 1])


def test_more_features_than_samples_and_features_that_repeat_are_fitted_all_the_same():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(30, 25))
    x = StandardScaler().fit_transform(np.hstack([x, x]))
    labels = (x[:, :2] + rng.normal(size=(30, 2)) > 0).astype(float)
    peers = [LogisticRegression(tol=1e-9, max_iter=9000).fit(x, one) for one in labels.T]
    expected = np.column_stack([one.predict_proba(x)[:, 1] for one in peers])
    np.testing.assert_allclose(fitted(x, labels, one_label=False), expected, atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("task", ["emotion", "classification"])
def test_labels_are_those_of_the_start_unless_the_lead_is_above_its_noise(task):
    """Of 60 samples in 30 photos: scikit-learn's metric in halves of the photos, drawn here."""
    train, val = emotion_data(80, 1), emotion_data(60, 2)
    if task == "classification":
        train, val = one_label(train), one_label(val)
    val = replace(val, clusters=torch.arange(60) // 2)

    def answers(learner: Any) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            output = learner.model(val.streams)
        return output.logits.numpy(), output.ratings.numpy()

    learner = fresh(task, "joint", train, val)
    start = answers(learner)[0]
    torch.manual_seed(1)
    random_heads(learner)
    torch.nn.init.normal_(learner.model.head.continuous.weight)
    best, ratings = answers(learner)
    truth, rng, moved = val.labels.numpy(), np.random.default_rng(9), []

    def lead(rows: np.ndarray) -> float:
        each = [
            f1_score(truth[rows].argmax(1), one[rows].argmax(1), average="macro")
            if task == "classification"
            else average_precision_score(truth[rows], one[rows], average="macro")
            for one in (start, best)
        ]
        return 100 * (each[1] - each[0])

    moved = [lead(np.repeat(rng.permutation(np.arange(30) < 15), 2)) for _ in range(400)]
    found = learner.settle(7)
    assert found.points == pytest.approx(lead(np.full(60, True)))
    assert found.noise == pytest.approx(student.ppf(1 - 0.05 / 7 / 2, 29) * np.std(moved), rel=0.15)
    assert not found.clear
    kept = answers(learner)
    np.testing.assert_allclose(kept[0], start, atol=1e-5)
    assert np.array_equal(kept[1], ratings)  # which the probe does not predict

    # A start that is wrong throughout is left.
    learner.probe = replace(learner.probe, weights=-learner.probe.weights)
    assert learner.settle(7).clear
    assert np.array_equal(answers(learner)[0], kept[0])


def interacting(count: int, seed: int) -> EmotionData:
    """The label says whether the first numbers of image and text have the same sign."""
    rng = np.random.default_rng(seed)
    image, text = rng.normal(size=(2, count, 6)).astype(np.float32)
    label = (image[:, 0] * text[:, 0] > 0).astype(int)
    streams = {"context": torch.from_numpy(image), "text": torch.from_numpy(text)}
    return EmotionData(streams, torch.eye(2)[label], torch.zeros(count, 0))


@pytest.mark.long
def test_joint_sees_an_interaction_that_no_linear_model_sees():
    data = [interacting(count, seed) for seed, count in enumerate((800, 200, 1000))]
    right = {}
    for family, fusion in (("joint", "product"), ("joint", "mean"), ("separate", "mean")):
        one = fresh(
            "classification", family, *data[:2], fusion=fusion, dimensions=(), embedding=32, hidden=32
        )
        fit(one, config(epochs=30, patience=30, learning_rate=1e-2, batch_size=50), device=CPU)
        with torch.inference_mode():
            logits = one.model(data[2].streams).logits
        right[family, fusion] = (logits.argmax(1) == data[2].labels.argmax(1)).float().mean().item()
    assert right["joint", "product"] > 0.85
    assert right["joint", "mean"] < 0.6
    assert right["separate", "mean"] < 0.6

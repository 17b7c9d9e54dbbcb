"""Training starts from the linear probe, and heads find what it cannot see."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from support.toy_training import CPU, config, emotion_data, spec

from mmer_core.config import ProbeConfig
from mmer_core.evaluation.emotion_metrics import mean_average_precision
from mmer_core.models import build_model
from mmer_core.task_kinds import kind_of
from mmer_core.training.data import EmotionData
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


def one_label(data: EmotionData) -> EmotionData:
    chosen = (data.ratings * torch.tensor([1.0, 0.9, 1.1])).argmax(dim=1)
    return replace(data, labels=torch.nn.functional.one_hot(chosen, 3).float())


@pytest.mark.parametrize("family", ["separate", "joint"])
@pytest.mark.parametrize("task", ["emotion", "classification"])
def test_a_fresh_model_is_scikit_learns_logistic_regression(task, family):
    train, val = emotion_data(150, 1), emotion_data(60, 2)
    if task == "classification":
        train, val = one_label(train), one_label(val)
    x, y = (torch.cat(list(data.streams.values()), dim=1).double().numpy() for data in (train, val))
    scaler = StandardScaler().fit(x)
    truth = train.labels.numpy()
    targets = truth.T if task == "emotion" else [truth.argmax(axis=1)]
    found = []
    for strength in ProbeConfig().strengths:
        fits = [
            LogisticRegression(C=strength, max_iter=5000, tol=1e-8).fit(scaler.transform(x), t)
            for t in targets
        ]
        logits = np.column_stack([one.decision_function(scaler.transform(y)) for one in fits])
        found.append(expit(logits) if task == "emotion" else softmax(logits, axis=1))
    best = max(found, key=lambda each: mean_average_precision(each, val.labels.numpy()))
    model = fresh(task, family, train, val).model
    with torch.inference_mode():
        logits = model(val.streams).logits.double().numpy()
    predicted = expit(logits) if task == "emotion" else softmax(logits, axis=1)
    assert np.abs(predicted - best).max() < 0.02


def interacting(count: int, seed: int) -> EmotionData:
    """The label says whether the first numbers of image and text have the same sign."""
    rng = np.random.default_rng(seed)
    image, text = rng.normal(size=(2, count, 6)).astype(np.float32)
    label = (image[:, 0] * text[:, 0] > 0).astype(int)
    streams = {"context": torch.from_numpy(image), "text": torch.from_numpy(text)}
    return EmotionData(streams, torch.eye(2)[label], torch.zeros(count, 0))


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

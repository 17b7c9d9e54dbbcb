"""The metrics that we print against torchmetrics, on random inputs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional import mean_absolute_error
from torchmetrics.functional.classification import (
    multilabel_average_precision,
    multilabel_f1_score,
    multilabel_precision,
    multilabel_recall,
)
from torchmetrics.functional.retrieval import retrieval_hit_rate

from mmer_core.config import EvaluationConfig
from mmer_core.evaluation.emotion_metrics import (
    average_precision,
    mean_average_precision,
    precision_recall_f1,
    vad_mean_absolute_error,
)
from mmer_core.evaluation.evaluate import evaluate_emotion, evaluate_retrieval
from mmer_core.evaluation.retrieval_metrics import RECALLS, retrieval_metrics, similarity_ranks

quick = settings(max_examples=40)
cases = st.tuples(st.integers(2, 40), st.integers(2, 5), st.integers(0, 10_000))


def emotions(case: tuple[int, int, int], levels: int = 8):
    """Probabilities with many ties, and labels in which every category has a positive."""
    rows, categories, seed = case
    rng = np.random.default_rng(seed)
    labels = (rng.random((rows, categories)) < 0.3).astype(int)
    labels[rng.integers(rows, size=categories), np.arange(categories)] = 1
    return rng.integers(0, levels + 1, (rows, categories)) / levels, labels


@quick
@given(case=cases)
def test_average_precision(case):
    scores, labels = emotions(case)
    tensors = torch.tensor(scores), torch.tensor(labels)
    each = multilabel_average_precision(*tensors, num_labels=labels.shape[1], average="none").numpy()
    ours = [average_precision(scores[:, c], labels[:, c]) for c in range(labels.shape[1])]
    np.testing.assert_allclose(ours, each, atol=1e-6)
    macro = multilabel_average_precision(*tensors, num_labels=labels.shape[1], average="macro").item()
    assert mean_average_precision(scores, labels) == pytest.approx(macro, abs=1e-6)


@quick
@given(case=cases, threshold=st.sampled_from([0.3, 0.55, 0.9]))
def test_precision_recall_and_f1(case, threshold):
    scores, labels = emotions(case)
    ours = precision_recall_f1(scores, labels, np.full(labels.shape[1], threshold))
    for found, theirs in zip(
        ours, (multilabel_precision, multilabel_recall, multilabel_f1_score), strict=True
    ):
        expected = theirs(
            torch.tensor(scores), torch.tensor(labels), labels.shape[1], threshold=threshold, average="none"
        )
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


@quick
@given(case=cases)
def test_vad_error(case):
    rows, dimensions, seed = case
    predicted, rated = np.random.default_rng(seed).uniform(1, 10, (2, rows, dimensions))
    expected = mean_absolute_error(torch.tensor(predicted), torch.tensor(rated), num_outputs=dimensions)
    np.testing.assert_allclose(vad_mean_absolute_error(predicted, rated), expected.numpy())


@quick
@given(case=st.tuples(st.integers(2, 30), st.integers(1, 3), st.integers(0, 10_000)))
def test_recall_at_k(case):
    """An image finds one of its captions among the first k: a hit; a caption has one image to find."""
    images, per_image, seed = case
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(images, 6))
    owner = np.repeat(np.arange(images), per_image)
    text = image[owner] + 2 * rng.normal(size=(len(owner), 6))
    ours = retrieval_metrics(similarity_ranks(image, text, owner))
    scores = torch.tensor(image @ text.T)
    for k in RECALLS:
        for name, rows, right in (
            ("t2i", scores.T, torch.tensor(owner)[:, None] == torch.arange(images)),
            ("i2t", scores, torch.arange(images)[:, None] == torch.tensor(owner)),
        ):
            hits = [
                retrieval_hit_rate(row, truth, top_k=k).item() for row, truth in zip(rows, right, strict=True)
            ]
            assert ours[f"{name}_r{k}"] == pytest.approx(100 * np.mean(hits), abs=1e-6), (name, k)


def test_the_figures_of_an_evaluation_are_theirs():
    """From the stage's own output, so that percentages and the order of categories are right as well."""
    scores, labels = emotions((200, 4, 1), levels=50)
    rng = np.random.default_rng(2)
    rated, predicted = rng.uniform(1, 10, (2, 200, 3))
    thresholds = np.array([0.2, 0.4, 0.6, 0.8])
    found = evaluate_emotion(
        scores, predicted, labels, rated, thresholds, list("abcd"), EvaluationConfig(resamples=10)
    )
    tensors = torch.tensor(scores), torch.tensor(labels)
    each = multilabel_average_precision(*tensors, num_labels=4, average="none").tolist()
    assert [row.ap.value for row in found.per_category] == pytest.approx([100 * x for x in each], rel=1e-5)
    claimed = torch.tensor(scores) >= torch.tensor(thresholds)
    f1 = multilabel_f1_score(claimed.int(), tensors[1], 4, average="none").tolist()
    assert [row.f1 for row in found.per_category] == pytest.approx([100 * x for x in f1], rel=1e-5)
    mae = mean_absolute_error(torch.tensor(predicted), torch.tensor(rated)).item()
    assert found.metrics["vad_mae"].value == pytest.approx(mae)


def test_retrieval_figures_of_an_evaluation_are_those_of_the_ranks():
    rng = np.random.default_rng(3)
    image, owner = rng.normal(size=(40, 8)), np.repeat(np.arange(40), 5)
    text = image[owner] + 2 * rng.normal(size=(200, 8))
    found = evaluate_retrieval(image, text, owner, EvaluationConfig(resamples=10))
    expected = torch.tensor(owner)[:, None] == torch.arange(40)
    hits = [
        retrieval_hit_rate(row, truth, top_k=5).item()
        for row, truth in zip(torch.tensor(text @ image.T), expected, strict=True)
    ]
    assert found.metrics["t2i_r5"].value == pytest.approx(100 * np.mean(hits))

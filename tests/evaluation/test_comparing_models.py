"""Comparisons of two models: names the better one, corrects for many emotions, and equals single evaluations."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from mmer_core.evaluation.comparing import compare_emotions, compare_retrieval
from mmer_core.evaluation.retrieval_metrics import retrieval_metrics, similarity_ranks
from mmer_core.statistics.comparison import Rule

RULE = Rule(resamples=200)
MODELS = ("joint", "separate")


def emotions(skills, seed=0, size=300):
    rng = np.random.default_rng(seed)
    labels = (rng.random((size, 4)) < [0.008, 0.2, 0.4, 0.6]).astype(float)
    return labels, [skill * labels + rng.normal(size=labels.shape) for skill in skills]


def test_a_better_model_is_named_with_the_difference_of_both_map():
    labels, scores = emotions((2.0, 0.5))
    whole, rare, *common = compare_emotions(MODELS, tuple(scores), labels, ("Fear", "A", "B", "C"), RULE)
    ap = [[100 * average_precision_score(labels[:, c], one[:, c]) for c in range(4)] for one in scores]
    assert whole.first_value == pytest.approx(np.mean(ap[0]))
    assert whole.difference.value == pytest.approx(np.mean(ap[0]) - np.mean(ap[1]))
    assert (whole.winner, whole.tests) == ("joint", 1)
    assert [one.winner for one in common] == ["joint"] * 3
    # Two people show fear: nothing is tested there, so three questions are corrected for.
    assert (rare.p, rare.decision) == (None, "undecided")
    assert {one.tests for one in common} == {3}
    assert all(one.p_adjusted >= one.p for one in common)


def test_one_model_compared_with_itself_is_equivalent():
    labels, scores = emotions((1.0,))
    whole, *_ = compare_emotions(MODELS, (scores[0], scores[0]), labels, list("abcd"), RULE)
    assert (whole.decision, whole.difference.value, whole.p) == ("equivalent", 0, 1)


def test_groups_make_a_difference_less_sure():
    labels, scores = (np.repeat(one, 4, axis=-2) for one in emotions((1.0, 0.7), size=80))
    alone, together = (
        compare_emotions(MODELS, tuple(scores), labels, list("abcd"), RULE, clusters)[0]
        for clusters in (None, np.repeat(np.arange(80), 4))
    )
    assert (alone.clusters, together.clusters) == (320, 80)
    assert together.error == pytest.approx(2 * alone.error, rel=0.3)


def test_recalls_are_compared_query_by_query():
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(60), 5)
    image = rng.normal(size=(60, 8))
    ranks = [
        similarity_ranks(image, image[owner] + noise * rng.normal(size=(300, 8)), owner)
        for noise in (0.8, 2.0)
    ]
    whole, *recalls = compare_retrieval(MODELS, tuple(ranks), owner, RULE)
    first, second = map(retrieval_metrics, ranks)
    assert whole.difference.value == pytest.approx(first["mean_recall"] - second["mean_recall"])
    assert whole.winner == "joint"
    values = {one.topic: one.difference.value for one in recalls}
    assert values["recall t2i 5"] == pytest.approx(first["t2i_r5"] - second["t2i_r5"])
    assert {one.topic: (one.n, one.clusters) for one in recalls}["recall t2i 5"] == (300, 60)
    assert {one.tests for one in recalls} == {6}

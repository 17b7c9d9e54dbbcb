"""Detectors by hand, against scikit-learn, and on planted poisons."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, FastICA
from sklearn.metrics import precision_score, recall_score, roc_auc_score
from sklearn.metrics.pairwise import paired_cosine_distances
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from mmer_core.config import PoisonConfig
from mmer_core.errors import PoisonError
from mmer_core.poisoning.detectors import (
    activation_clustering,
    clustering_flags,
    deep_knn,
    deep_knn_texts,
    flag_at,
    judge,
    neighbours,
    pair_dissimilarity,
    spectral_flags,
    spectral_signatures,
)
from mmer_core.poisoning.detectors.detector import Inspected
from mmer_core.poisoning.registry import DETECTORS


def planted(
    poisons: int = 12, samples: int = 240, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three classes; the last rows lie among class 0 but are labelled 1."""
    rng = np.random.default_rng(seed)
    labels = np.arange(samples) % 3
    mask = np.arange(samples) >= samples - poisons
    centres = 4 * rng.normal(size=(3, 20))
    features = centres[np.where(mask, 0, labels)] + rng.normal(size=(samples, 20))
    return features, np.where(mask, 1, labels), mask


def votes_by_sklearn(features: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    scores = []
    for row in range(len(features)):
        others = np.delete(np.arange(len(features)), row)
        shares = KNeighborsClassifier(k, algorithm="brute").fit(features[others], labels[others])
        probability = dict(
            zip(shares.classes_, shares.predict_proba(features[row : row + 1])[0], strict=True)
        )
        own = probability.pop(labels[row], 0.0)
        scores.append(max([0.0, *probability.values()]) - own)
    return np.array(scores)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_among_many_samples_the_nearest_of_a_sample_vote(monkeypatch, chunk):
    features, labels, mask = planted()
    monkeypatch.setattr(neighbours, "MOST_AROUND", 90)
    monkeypatch.setattr(neighbours, "PAIRS_AT_ONCE", 90 * chunk)
    found = np.concatenate([rows for _, rows in neighbours.nearest(features.astype(np.float32), 5)])
    around = np.unique(found)
    assert len(around) <= 90
    drawn = np.sort(np.random.default_rng(0).choice(len(features), 90, replace=False))
    for row, own in enumerate(found):
        others = drawn[drawn != row]
        exact = (
            NearestNeighbors(n_neighbors=5).fit(features[others]).kneighbors(features[row : row + 1])[1][0]
        )
        assert set(own.tolist()) == set(others[exact].tolist())
    assert judge(deep_knn(features, labels, 25), deep_knn(features, labels, 25) > 0, mask).recall == 1


@pytest.mark.parametrize("k", [1, 7, 50])
def test_deep_knn_agrees_with_sklearn_and_finds_the_planted(k):
    features, labels, mask = planted()
    scores = deep_knn(features, labels, k)
    np.testing.assert_allclose(scores, votes_by_sklearn(features, labels, k), atol=1e-9)
    found = judge(scores, scores > 0, mask)
    if k == 50:
        assert (found.precision, found.recall) == (1, 1)


def test_deep_knn_by_hand_and_in_chunks(monkeypatch):
    features = np.array([[0.0], [1.0], [2.5], [10.0], [11.0], [100.0]])
    labels = np.array([0, 0, 1, 1, 1, 0])
    expected = [0.0, 0.0, 1.0, -1.0, -1.0, 1.0]
    assert deep_knn(features, labels, 2).tolist() == expected
    monkeypatch.setattr("mmer_core.poisoning.detectors.neighbours.PAIRS_AT_ONCE", 12)
    assert deep_knn(features, labels, 2).tolist() == expected
    assert deep_knn(features, labels, 99).tolist() == deep_knn(features, labels, 5).tolist()


def test_deep_knn_of_texts_against_sklearn():
    features, labels, mask = planted()
    rng = np.random.default_rng(1)
    texts = rng.normal(size=(3, 8))[labels] + 0.1 * rng.normal(size=(len(labels), 8))
    scores = deep_knn_texts(features, texts, 9)
    around = NearestNeighbors(n_neighbors=10).fit(features).kneighbors(features, return_distance=False)[:, 1:]
    for row in range(0, len(labels), 17):
        cosine = 1 - paired_cosine_distances(np.repeat(texts[row : row + 1], 9, axis=0), texts[around[row]])
        assert scores[row] == pytest.approx(1 - cosine.mean(), abs=1e-5)
    assert judge(scores, scores > 0, mask).auc > 0.99


def test_spectral_signatures_against_sklearn():
    features, labels, mask = planted()
    scores = spectral_signatures(features, labels)
    for label in range(3):
        own = features[labels == label]
        expected = PCA(1, svd_solver="full").fit_transform(own)[:, 0] ** 2
        np.testing.assert_allclose(scores[labels == label], expected, rtol=1e-3, atol=1e-4)
    flags = spectral_flags(scores, labels, 12 / 90)
    assert judge(scores, flags, mask).recall == 1
    assert [int(flags[labels == label].sum()) for label in range(3)] == [
        int(np.ceil(1.5 * 12 / 90 * (labels == label).sum())) for label in range(3)
    ]


def test_the_share_that_spectral_signatures_remove_is_exact():
    assert spectral_flags(np.arange(100.0), None, 0.02).nonzero()[0].tolist() == [97, 98, 99]
    assert not spectral_flags(np.arange(100.0), None, 0).any()


def test_activation_clustering_against_sklearn():
    features, labels, mask = planted()
    scores = activation_clustering(features, labels)
    own = features[labels == 1].astype(np.float32).astype(float)
    reduced = FastICA(10, random_state=0, whiten="unit-variance", max_iter=2000).fit_transform(own)
    cluster = KMeans(2, n_init=10, random_state=0).fit_predict(reduced)
    small = cluster == np.bincount(cluster).argmin()
    np.testing.assert_array_equal(small, mask[labels == 1])
    flags = clustering_flags(scores)
    assert flags[mask].all()
    assert scores[mask] == pytest.approx(1 - 12 / (labels == 1).sum())


def test_clusters_of_no_or_equal_samples_and_of_few_directions():
    assert activation_clustering(np.ones((6, 3))).tolist() == [0] * 6
    assert activation_clustering(np.eye(3)).tolist() == [0] * 3
    line = np.zeros((10, 5))
    line[8:, 2] = 1.0
    assert activation_clustering(line).tolist() == pytest.approx([0.2] * 8 + [0.8] * 2)
    assert clustering_flags([0.2, 0.8, 0.5, 0.65, 0.6]).tolist() == [False, True, False, True, False]
    assert clustering_flags([0.5, 0.5], 0.5).tolist() == [False, False]


def test_pairs_against_sklearn():
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(2, 30, 7))
    expected = paired_cosine_distances(images, texts) - 1
    np.testing.assert_allclose(pair_dissimilarity(images, texts), expected, atol=1e-6)


@settings(max_examples=60)
@given(
    values=st.lists(st.integers(0, 9), min_size=2, max_size=60),
    seed=st.integers(0, 99),
    rate=st.floats(0, 0.9),
)
def test_judging_against_sklearn_and_the_false_positive_rate(values, seed, rate):
    scores = np.array(values, float)
    poisons = np.random.default_rng(seed).random(len(scores)) < 0.3
    poisons[:2] = True, False
    flags = flag_at(scores, rate, ~poisons)
    found = judge(scores, flags, poisons)
    assert found.auc == pytest.approx(roc_auc_score(poisons, scores))
    assert found.recall == pytest.approx(recall_score(poisons, flags))
    if found.flagged:
        assert found.precision == pytest.approx(precision_score(poisons, flags))
    else:
        assert found.precision is None
    assert found.false_positive_rate <= rate + 1e-6
    # The next lower threshold would break the rate.
    if not flags.all():
        lower = scores >= scores[~flags].max()
        assert (lower & ~poisons).sum() / (~poisons).sum() > rate


@pytest.mark.parametrize("name", ["spectral", "clustering", "deep-knn"])
def test_poisons_of_a_small_label_are_found_beside_a_large_label_that_varies_more(name):
    """The target has 100 close samples and 12 poisons among the 900 others, which lie far apart."""
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], [112, 900])
    poisons = np.arange(1012) < 12
    features = np.where(labels == 1, 0.3, 5.0)[:, None] * rng.normal(size=(1012, 3))
    features[poisons] = 6 * np.eye(3)[0] + 0.3 * rng.normal(size=(12, 3))
    features[-30:] = features[:1] + 0.3 * rng.normal(size=(30, 3))  # what the poisons' images show
    inspected = Inspected(features, labels, None, captioned=False, poisons=12)
    method = DETECTORS.configured(name, PoisonConfig())
    scores = method.scores(inspected)
    flags = method.flags(scores, inspected, 0.05)
    found = judge(scores, flags, poisons, labels if method.by_label else None)
    assert found.recall == 1
    if method.by_label:
        pooled = judge(scores, flag_at(scores, 0.05), poisons)
        assert found.auc > 0.99
        assert pooled.auc <= found.auc
        assert not flags[labels == 0].any()
    if name == "spectral":
        assert pooled.auc < 0.8
        assert flags.sum() == 18  # 1.5 times the poisons
        assert judge(scores, flag_at(scores, 0.05), poisons).recall == 0


@settings(max_examples=30)
@given(seed=st.integers(0, 99))
def test_auc_within_labels_is_the_mean_over_their_pairs(seed):
    rng = np.random.default_rng(seed)
    scores, labels, poisons = (
        rng.integers(0, 5, 40).astype(float),
        rng.integers(0, 3, 40),
        rng.random(40) < 0.3,
    )
    pairs = [
        (scores[one] > scores[other]) + 0.5 * (scores[one] == scores[other])
        for one in np.flatnonzero(poisons)
        for other in np.flatnonzero(~poisons)
        if labels[one] == labels[other]
    ]
    found = judge(scores, poisons, poisons, labels).auc
    assert found is None if not pairs else found == pytest.approx(np.mean(pairs))


def test_the_false_positive_rate_by_hand():
    scores = np.arange(20.0)
    assert flag_at(scores, 0.05).nonzero()[0].tolist() == [19]
    assert flag_at(scores, 0.1).nonzero()[0].tolist() == [18, 19]
    assert not flag_at(scores, 0).any()
    clean = scores < 10
    assert flag_at(scores, 0.1, clean).nonzero()[0].tolist() == list(range(9, 20))
    assert flag_at(np.zeros(5), 0.5).sum() == 0


def test_nothing_to_divide_is_none():
    found = judge(np.zeros(3), np.zeros(3, bool), np.zeros(3, bool))
    assert (found.precision, found.recall, found.auc, found.false_positive_rate) == (None, None, None, 0)


FEATURES, LABELS = np.eye(4), np.array([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: deep_knn(FEATURES[0], LABELS), r"shape \(4,\)"),
        (lambda: deep_knn(FEATURES * np.nan, LABELS), "NaN"),
        (lambda: deep_knn(FEATURES, LABELS[:3]), r"\(3,\) for 4"),
        (lambda: deep_knn(FEATURES, LABELS / 2), "float64"),
        (lambda: deep_knn(FEATURES, LABELS - 1), "label is -1"),
        (lambda: deep_knn(FEATURES, LABELS, 0), "k is 0"),
        (lambda: deep_knn(FEATURES[:1], LABELS[:1]), "2 or more"),
        (lambda: deep_knn_texts(FEATURES, np.zeros((4, 2))), "not 0"),
        (lambda: deep_knn_texts(FEATURES, FEATURES, 0), "k is 0"),
        (lambda: spectral_flags([1.0, 2.0], None, 0.7), "0.7"),
        (lambda: activation_clustering(FEATURES, components=0), "components is 0"),
        (lambda: clustering_flags([0.1], 0.6), "0.6"),
        (lambda: pair_dissimilarity(FEATURES, FEATURES[:, :3]), "no pairs"),
        (lambda: pair_dissimilarity(FEATURES, 0 * FEATURES), "zero"),
        (lambda: flag_at([1.0], 1.0), "rate is 1.0"),
        (lambda: flag_at([1.0], 0.1, [False]), "no sample"),
        (lambda: flag_at([np.nan], 0.1), "NaN"),
        (lambda: judge([1.0], [1], [True]), "flags are int64"),
    ],
)
def test_what_cannot_be_inspected_is_refused(make, message):
    with pytest.raises(PoisonError, match=message):
        make()

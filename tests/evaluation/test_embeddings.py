"""Analyses of embedding spaces against scikit-learn, scipy and hand-made spaces."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from mmer_core.evaluation import embeddings as module
from mmer_core.evaluation.embeddings import (
    alignment,
    dimension_shares,
    diversity,
    effective_dimensionality,
    embedding_variance,
    explained_variance,
    linear_cka,
    mean_similarity,
    modality_gap,
    paired_similarity,
    rotated,
    tsne,
    uniformity,
)

quick = settings(max_examples=30)
shapes = st.tuples(st.integers(2, 20), st.integers(2, 8), st.integers(0, 1000))


def draw(shape):
    rows, width, seed = shape
    return np.random.default_rng(seed).normal(size=(rows, width)) * np.arange(1, width + 1)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@quick
@given(shape=shapes)
def test_explained_variance_equals_sklearn(shape):
    rows = draw(shape)
    np.testing.assert_allclose(explained_variance(rows), PCA().fit(rows).explained_variance_ratio_.cumsum())


@quick
@given(shape=shapes, share=st.sampled_from([0.5, 0.8, 0.95]))
def test_effective_dimensionality_equals_sklearn(shape, share):
    rows = draw(shape)
    expected = int((PCA().fit(rows).explained_variance_ratio_.cumsum() < share).sum()) + 1
    assert effective_dimensionality(rows, share) == expected


def test_effective_dimensionality_of_known_spaces():
    generator = np.random.default_rng(0)
    plane = generator.normal(size=(100, 2)) @ generator.normal(size=(2, 32))
    assert effective_dimensionality(plane, share=1.0) <= 2
    assert effective_dimensionality(np.eye(9)) == 8
    collapsed = np.tile(generator.normal(size=32), (100, 1))
    assert effective_dimensionality(collapsed) == 0
    assert np.isnan(explained_variance(collapsed)).all()
    assert effective_dimensionality([[1.0, 2.0]]) == 0


@quick
@given(shape=shapes, t=st.sampled_from([0.5, 2.0]))
def test_uniformity_equals_the_definition(shape, t):
    rows = draw(shape)
    expected = np.log(np.exp(-t * pdist(unit(rows), "sqeuclidean")).mean())
    assert uniformity(rows, t) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_uniformity_in_blocks_equals_uniformity_at_once(monkeypatch):
    rows = draw((17, 4, 0))
    expected = uniformity(rows)
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", 17 * 5)
    assert uniformity(rows) == pytest.approx(expected)


def test_uniformity_of_known_spaces():
    assert uniformity(np.ones((5, 3))) == pytest.approx(0)
    assert uniformity([[1.0, 0.0], [-1.0, 0.0]]) == pytest.approx(-8)  # distance 2: exp(-2 * 4)


@quick
@given(shape=shapes, alpha=st.sampled_from([1.0, 2.0, 3.0]))
def test_alignment_equals_the_definition(shape, alpha):
    first, second = draw(shape), draw((*shape[:2], shape[2] + 1))
    expected = np.mean(
        [np.linalg.norm(x - y) ** alpha for x, y in zip(unit(first), unit(second), strict=True)]
    )
    assert alignment(first, second, alpha) == pytest.approx(expected)
    assert alignment(first, 3 * first) == pytest.approx(0)
    assert alignment(first, second) == pytest.approx(2 - 2 * paired_similarity(first, second))


@quick
@given(shape=shapes)
def test_mean_similarity_equals_the_definition(shape):
    rows = draw(shape)
    assert mean_similarity(rows) == pytest.approx(1 - pdist(rows, "cosine").mean(), abs=1e-9)


def test_modality_gap_of_known_spaces():
    first = np.array([[2.0, 1.0, 0.0], [2.0, -1.0, 0.0]])
    assert modality_gap(first, first[::-1]) == pytest.approx(0)
    assert modality_gap(first, -first[:1]) == pytest.approx(np.hypot(4, 1) / np.sqrt(5))
    assert modality_gap([[1.0, 0.0]], [[-3.0, 0.0]]) == pytest.approx(2)


def test_tsne_keeps_neighbours_together_and_repeats():
    generator = np.random.default_rng(0)
    rows = np.repeat(10 * np.eye(3, 16), 15, axis=0) + generator.normal(size=(45, 16))
    points = tsne(rows, seed=0)
    assert points.shape == (45, 2)
    assert trustworthiness(rows, points, n_neighbors=5) > 0.85
    np.testing.assert_array_equal(points, tsne(rows, seed=0))


@pytest.mark.parametrize(("count", "width"), [(1, 2), (2, 7), (3, 1), (3, 7), (5, 2)])
def test_tsne_of_few_rows(count, width):
    points = tsne(np.random.default_rng(0).normal(size=(count, width)), seed=0)
    assert points.shape == (count, 2)
    assert np.isfinite(points).all()


def test_tsne_of_a_collapsed_space():
    assert (tsne(np.full((20, 4), 0.3), seed=0) == 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: explained_variance([[np.nan, 1.0]]), "NaN"),
        (lambda: explained_variance(np.zeros((0, 3))), "empty"),
        (lambda: effective_dimensionality(np.eye(3), 0), "share"),
        (lambda: alignment([[1.0, 0.0]], [[0.0, 0.0]]), "all zeros"),
        (lambda: alignment(np.eye(2), np.eye(3)), "pairs"),
        (lambda: uniformity([[1.0, 0.0]]), "at least 2"),
        (lambda: mean_similarity([[1.0, 0.0]]), "at least 2"),
        (lambda: modality_gap(np.eye(2), np.eye(3)), "wide"),
        (lambda: tsne([1.0, 2.0], 0), "axes"),
    ],
)
def test_senseless_spaces_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@quick
@given(shape=shapes)
def test_embedding_variance_is_the_trace_of_the_covariance(shape):
    rows = draw(shape)
    assert embedding_variance(rows) == pytest.approx(unit(rows).var(axis=0).sum(), abs=1e-12)
    # Over n rows, variance and mean similarity are two sides of one figure.
    count = len(rows)
    assert 1 - embedding_variance(rows) == pytest.approx(
        (mean_similarity(rows) * (count - 1) + 1) / count, abs=1e-9
    )


def test_embedding_variance_of_known_spaces():
    assert embedding_variance([[1.0, 0.0], [-2.0, 0.0]]) == pytest.approx(1)
    assert embedding_variance(np.ones((7, 3))) == pytest.approx(0, abs=1e-12)


@quick
@given(shape=shapes)
def test_cka_equals_the_kernel_definition(shape):
    """HSIC of the two Gram matrices, centred: equation 3 of the paper, where the code has equation 4."""
    x = draw(shape)
    y = draw((len(x), 4, shape[2] + 1)) + x[:, :1]
    centre = np.eye(len(x)) - 1 / len(x)
    k, g = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    expected = np.trace(k @ g) / np.sqrt(np.trace(k @ k) * np.trace(g @ g))
    assert linear_cka(x, y) == pytest.approx(expected)


def test_cka_sees_no_rotation_and_tells_unrelated_spaces():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(400, 6))
    rotation = np.linalg.qr(generator.normal(size=(6, 6)))[0]
    assert linear_cka(x, 3 * x @ rotation + 5) == pytest.approx(1)
    assert linear_cka(x, generator.normal(size=(400, 6))) < 0.05
    assert np.isnan(linear_cka(x, np.full((400, 2), 0.3)))
    with pytest.raises(ValueError, match="same samples"):
        linear_cka(x, x[1:])


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_shares_of_dimensions_and_their_diversity(seed):
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(30, 5)) * generator.uniform(0.1, 3, 5)
    shares = dimension_shares(rows)
    each = [sum((value - sum(column) / 30) ** 2 for value in column) for column in rows.T.tolist()]
    np.testing.assert_allclose(shares, np.array(each) / sum(each))
    entropy = -sum(share * math.log(share) for share in shares.tolist())
    assert diversity(shares) == pytest.approx(math.exp(entropy) / 5)
    turned = rotated(rows, seed)
    np.testing.assert_allclose(turned @ turned.T, rows @ rows.T, atol=1e-9)


def test_diversity_of_the_extremes():
    assert diversity(np.full(8, 1 / 8)) == pytest.approx(1)
    assert diversity([0, 1, 0, 0]) == pytest.approx(1 / 4)
    assert np.isnan(diversity(dimension_shares(np.ones((4, 3)))))

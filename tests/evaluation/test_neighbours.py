"""Nearest neighbours against scikit-learn, and what they say of hand-made spaces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from mmer_core.evaluation import embeddings
from mmer_core.evaluation import neighbours as module
from mmer_core.evaluation.neighbours import nearest, neighbour_shares, same_group_share

quick = settings(max_examples=30)


def draw(seed, rows=30, width=5):
    return np.random.default_rng(seed).normal(size=(rows, width))


@quick
@given(seed=st.integers(0, 1000), rows=st.integers(2, 40), k=st.integers(1, 12))
def test_neighbours_equal_sklearn(seed, rows, k):
    points = draw(seed, rows)
    k = min(k, rows - 1)
    expected = NearestNeighbors(n_neighbors=k, metric="cosine").fit(points).kneighbors(return_distance=False)
    np.testing.assert_array_equal(np.sort(nearest(points, k), axis=1), np.sort(expected, axis=1))


def test_neighbours_in_blocks_equal_neighbours_at_once(monkeypatch):
    points = draw(0, 23)
    expected = nearest(points, 4)
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", 23 * 5)
    for columns in (23, 9, 3):  # fewer than there are neighbours as well
        monkeypatch.setattr(module, "COLUMNS_AT_ONCE", columns)
        np.testing.assert_array_equal(np.sort(nearest(points, 4), axis=1), np.sort(expected, axis=1))


def test_of_a_large_space_drawn_rows_are_compared_with_all(monkeypatch):
    points, labels = draw(3, 60), np.random.default_rng(4).integers(0, 2, (60, 2))
    monkeypatch.setattr(embeddings, "MOST_COMPARED", 20)
    asked = embeddings.compared(60)
    assert len(set(asked.tolist())) == 20
    exact = NearestNeighbors(n_neighbors=4, metric="cosine").fit(points)
    expected = exact.kneighbors(points[asked], n_neighbors=5, return_distance=False)[:, 1:]
    found = nearest(points, 4, asked)
    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(expected, axis=1))
    np.testing.assert_allclose(neighbour_shares(found, labels, asked), labels[expected].mean(axis=1))
    group = labels[:, 0]
    own, _ = same_group_share(found, group, asked)
    assert own == pytest.approx((group[expected] == group[asked][:, None]).mean())
    squared = cdist(embeddings.unit_rows(points)[asked], embeddings.unit_rows(points), "sqeuclidean")
    others = np.ones((20, 60), bool)
    others[np.arange(20), asked] = False
    assert embeddings.uniformity(points) == pytest.approx(np.log(np.exp(-2 * squared[others]).mean()))


def test_fewer_rows_than_neighbours():
    assert nearest(draw(0, 4), 10).shape == (4, 3)


@quick
@given(seed=st.integers(0, 1000), k=st.integers(1, 8))
def test_shares_equal_sklearn_with_each_row_left_out(seed, k):
    points = draw(seed)
    labels = (np.random.default_rng(seed + 1).random((30, 3)) < 0.4).astype(float)
    labels[0], labels[1], labels[2:4] = 1, 1, 0  # both kinds remain when a row is left out
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    shares = neighbour_shares(nearest(points, k), labels)
    for row in range(30):
        rest = np.delete(np.arange(30), row)
        for c in range(3):
            model = KNeighborsClassifier(k).fit(unit[rest], labels[rest, c])
            assert shares[row, c] == pytest.approx(model.predict_proba(unit[row : row + 1])[0, 1])


def test_groups_apart_and_groups_mixed():
    generator = np.random.default_rng(0)
    first = generator.normal(size=(300, 6))
    groups = np.repeat(["image", "text"], 300)
    own, mixed = same_group_share(nearest(np.concatenate([first + 20, first - 20])), groups)
    assert own == 1
    assert mixed == pytest.approx(299 / 599)
    own, mixed = same_group_share(nearest(generator.normal(size=(600, 6))), groups)
    assert own == pytest.approx(mixed, abs=0.03)


@quick
@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=4))
def test_random_share_equals_every_labelling(sizes):
    """The chance that another row, drawn at random, is of the same group."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    pairs = [(i, j) for i in range(len(groups)) for j in range(len(groups)) if i != j]
    expected = np.mean([groups[i] == groups[j] for i, j in pairs])
    neighbours = np.zeros((len(groups), 1), np.int64)
    assert same_group_share(neighbours, groups)[1] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nearest([[1.0, 0.0]]), "neighbours"),
        (lambda: nearest(np.eye(3), 0), "neighbours"),
        (lambda: nearest([[1.0, 0.0], [0.0, 0.0]]), "all zeros"),
        (lambda: neighbour_shares(nearest(np.eye(3)), np.ones((2, 1))), "do not go"),
        (lambda: neighbour_shares(nearest(np.eye(3)), np.ones((4, 1))), "do not go"),
        (lambda: neighbour_shares(nearest(np.eye(3)), np.ones((3, 1)), np.array([0, 1])), "do not go"),
        (lambda: same_group_share(nearest(np.eye(3)), [0, 1]), "do not go"),
    ],
)
def test_senseless_neighbourhoods_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""Agreement of streams against scipy and scikit-learn."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from mmer_core.evaluation.agreement import cohen_kappa, rank_correlation, stream_agreement

quick = settings(max_examples=40)


@quick
@given(seed=st.integers(0, 1000), rows=st.integers(2, 40), ties=st.booleans())
def test_rank_correlation_equals_scipy(seed, rows, ties):
    x, y = np.random.default_rng(seed).normal(size=(2, rows, 3))
    if ties:
        x, y = x.round(), y.round()
    found = rank_correlation(x, y)
    for c in range(3):
        if np.ptp(x[:, c]) and np.ptp(y[:, c]):
            assert found[c] == pytest.approx(spearmanr(x[:, c], y[:, c]).statistic)
        else:
            assert np.isnan(found[c])


@quick
@given(seed=st.integers(0, 1000), rows=st.integers(1, 40), share=st.sampled_from([0.1, 0.5, 0.9]))
def test_kappa_equals_sklearn(seed, rows, share):
    x, y = (np.random.default_rng(seed).random((2, rows, 4)) < share).astype(int)
    found = cohen_kappa(x, y)
    for c in range(4):
        if len({*x[:, c], *y[:, c]}) == 1:
            assert np.isnan(found[c])
        else:
            assert found[c] == pytest.approx(cohen_kappa_score(x[:, c], y[:, c]), abs=1e-12)


def test_every_pair_is_compared_and_undefined_is_none():
    generator = np.random.default_rng(0)
    text = generator.random((50, 2))
    said = {"context": generator.random((50, 2)), "body": text**2, "text": text}
    said["context"][:, 1] = 0.3  # says the same of everybody
    pairs = stream_agreement(said, lambda p: p >= [0.5, 0.99], ["Joy", "Fear"])
    assert [(pair.first, pair.second) for pair in pairs] == [
        ("context", "body"), ("context", "text"), ("body", "text")
    ]  # fmt: skip
    assert pairs[2].spearman == pytest.approx(1)
    assert pairs[2].per_category[0].kappa < 1  # the same order, but another threshold in effect
    assert pairs[0].per_category[1].spearman is None
    assert pairs[0].spearman == pairs[0].per_category[0].spearman
    json.dumps([pair.model_dump(mode="json") for pair in pairs], allow_nan=False)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rank_correlation(np.eye(2), np.eye(3)), "row by row"),
        (lambda: cohen_kappa([[0.5]], [[1]]), "0 or 1"),
        (lambda: cohen_kappa(np.zeros((0, 1)), np.zeros((0, 1))), "row by row"),
        (lambda: rank_correlation([[np.nan]], [[1.0]]), "NaN"),
    ],
)
def test_senseless_agreement_raises(call, message):
    with pytest.raises(ValueError, match=message):
        call()

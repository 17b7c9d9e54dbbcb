"""Similarity per word against plain loops and plain resampling, and a planted word."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmer_core.config import EvaluationConfig
from mmer_core.evaluation.word_similarity import word_similarities

CONFIG = EvaluationConfig(resamples=50)


def case(seed=0, images=60, effect=0.3):
    """Captions of five words; 'snow' lifts the similarity, whatever else there stands."""
    generator = np.random.default_rng(seed)
    owner = np.repeat(np.arange(images), 2)
    texts = [
        " ".join(generator.choice(["a", "Dog,", "runs", "red", "hill", "boy"], 4))
        + (" in snow." if generator.random() < 0.4 else "")
        for _ in owner
    ]
    similarity = generator.normal(0.2, 0.1, len(owner)) + [effect * ("snow" in text) for text in texts]
    return similarity, texts, owner


@settings(max_examples=20)
@given(seed=st.integers(0, 500))
def test_means_equal_plain_loops(seed):
    similarity, texts, owner = case(seed)
    records = word_similarities(similarity, texts, owner, EvaluationConfig(resamples=10))
    assert {"snow", "dog"} <= {record.word for record in records}
    for record in records:
        holds = np.array(
            [record.word in text.lower().replace(",", "").replace(".", "").split() for text in texts]
        )
        assert record.texts == holds.sum() >= 10
        assert (~holds).sum() >= 10
        assert record.mean == pytest.approx(similarity[holds].mean())
        assert record.rest == pytest.approx(similarity[~holds].mean())
        assert record.difference.value == pytest.approx(record.mean - record.rest)


def test_the_planted_word_stands_first_and_clear_of_zero():
    records = word_similarities(*case(), CONFIG)
    # 'in' occurs in the same captions: the figure is about what goes with a word, not about what the word does.
    assert {record.word for record in records[:2]} == {"snow", "in"}
    assert records[0].difference.low > 0.2
    plain = next(record for record in records if record.word == "red")
    assert plain.difference.low < 0 < plain.difference.high
    json.dumps([record.model_dump(mode="json") for record in records], allow_nan=False)


def test_intervals_equal_resampled_images():
    similarity, texts, owner = case(images=80)
    config = EvaluationConfig(resamples=2000)
    record = next(one for one in word_similarities(similarity, texts, owner, config) if one.word == "dog")
    generator = np.random.default_rng(5)
    holds = np.array(["Dog," in text for text in texts])
    drawn = []
    for _ in range(2000):
        rows = np.concatenate([2 * (i := generator.integers(80, size=80)), 2 * i + 1])
        drawn.append(similarity[rows][holds[rows]].mean() - similarity[rows][~holds[rows]].mean())
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert record.difference.low == pytest.approx(low, abs=0.12 * (high - low))
    assert record.difference.high == pytest.approx(high, abs=0.12 * (high - low))


def test_rare_and_constant_words_are_left_out():
    similarity, texts, owner = case()
    texts = [f"the {text}" for text in texts]
    texts[0] += " unicorn"
    found = {record.word for record in word_similarities(similarity, texts, owner, CONFIG)}
    assert not {"the", "unicorn"} & found
    assert len(word_similarities(similarity, texts, owner, CONFIG, most=3)) == 3
    assert word_similarities([0.1, 0.2], ["a", "b"], [0, 1], CONFIG) == []


@pytest.mark.parametrize("change", [{"texts": ["a"]}, {"owner": [0]}, {"similarity": [np.nan] * 120}])
def test_senseless_words_raise(change):
    arrays = dict(zip(("similarity", "texts", "owner"), case(), strict=True)) | change
    with pytest.raises(ValueError):
        word_similarities(*arrays.values(), CONFIG)

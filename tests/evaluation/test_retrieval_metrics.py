"""Ranks against a full matrix in plain loops, chance against shuffling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from mmer_core.evaluation import embeddings
from mmer_core.evaluation.retrieval_metrics import (
    METRICS,
    Ranks,
    chance_retrieval,
    retrieval_metrics,
    similarity_ranks,
)

quick = settings(max_examples=60)
cases = st.tuples(
    st.integers(1, 6),  # N
    st.lists(st.integers(0, 5), min_size=1, max_size=12),  # owners, modulo N
    st.integers(0, 10_000),
    st.tuples(st.integers(1, 7), st.integers(1, 13)),  # block
)


def looped_ranks(scores, owner):
    """The protocol word by word: ``scores (N, T)``."""
    images, texts = scores.shape
    i2t, t2i = [], []
    for i in range(images):
        own = [scores[i, t] for t in range(texts) if owner[t] == i]
        others = [scores[i, t] for t in range(texts) if owner[t] != i]
        i2t.append(sum(other >= max(own) for other in others) if own else -1)
    for t in range(texts):
        t2i.append(sum(scores[i, t] >= scores[owner[t], t] for i in range(images) if i != owner[t]))
    return i2t, t2i


@quick
@given(case=cases)
def test_ranks_equal_the_full_matrix(case):
    count, owner, seed, block = case
    owner = np.array(owner) % count
    generator = np.random.default_rng(seed)
    # Small whole numbers: products are exact and ties are frequent.
    image, text = generator.integers(-2, 3, (count, 3)), generator.integers(-2, 3, (len(owner), 3))
    ranks = similarity_ranks(image, text, owner, block=block)
    i2t, t2i = looped_ranks(image @ text.T, owner)
    assert ranks.i2t.tolist() == i2t
    assert ranks.t2i.tolist() == t2i


@pytest.mark.parametrize("block", [None, (1, 1), (7, 200), (64, 50)])
def test_ranks_of_real_embeddings_do_not_depend_on_the_block(block):
    generator = np.random.default_rng(0)
    image = generator.normal(size=(50, 16)).astype(np.float32)
    owner = generator.integers(0, 50, 180)
    text = (image[owner] + generator.normal(size=(180, 16))).astype(np.float32)
    ranks = similarity_ranks(image, text, owner, block=block)
    i2t, t2i = looped_ranks(image.astype(float) @ text.astype(float).T, owner)
    assert ranks.i2t.tolist() == i2t
    assert ranks.t2i.tolist() == t2i


@quick
@given(case=cases, most=st.integers(1, 6))
def test_of_a_large_split_a_sample_asks_and_is_ranked_in_the_whole_gallery(case, most):
    count, owner, seed, block = case
    owner = np.array(owner) % count
    generator = np.random.default_rng(seed)
    image, text = generator.integers(-2, 3, (count, 3)), generator.integers(-2, 3, (len(owner), 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "MOST_COMPARED", most)
        ranks = similarity_ranks(image, text, owner, block=block)
        drawn = embeddings.compared(count)
    assert len(drawn) == min(most, count)
    i2t, t2i = looped_ranks(image @ text.T, owner)
    assert ranks.i2t.tolist() == [rank if row in drawn else -1 for row, rank in enumerate(i2t)]
    assert ranks.t2i.tolist() == [rank if owner[row] in drawn else -1 for row, rank in enumerate(t2i)]
    if len(ranks.images):
        of_sample = Ranks(np.array(i2t)[ranks.images], np.array(t2i)[ranks.texts])
        assert retrieval_metrics(ranks) == retrieval_metrics(of_sample)


@pytest.mark.parametrize("width", [1, 3, 33, 384, 513])
@pytest.mark.parametrize("block", [None, (3, 4)])
def test_a_constant_model_comes_out_last(width, block):
    # Products of full float64 rows come out of a matrix product with different last bits.
    row = np.random.default_rng(width).normal(size=width)
    owner = np.repeat(np.arange(7), 5)
    ranks = similarity_ranks(np.tile(row, (7, 1)), np.tile(row, (35, 1)), owner, block=block)
    assert (ranks.i2t == 30).all()
    assert (ranks.t2i == 6).all()
    metrics = retrieval_metrics(ranks)
    assert metrics["i2t_r10"] == metrics["t2i_r5"] == 0


def test_a_perfect_model_scores_one_hundred():
    image = np.eye(12)
    owner = np.repeat(np.arange(12), 5)
    metrics = retrieval_metrics(similarity_ranks(image, image[owner], owner))
    assert tuple(metrics) == METRICS
    assert {metrics.pop("i2t_median_rank"), metrics.pop("t2i_median_rank")} == {1}
    assert set(metrics.values()) == {100}


def test_shuffled_captions_are_matched_by_id_not_by_position():
    owner = np.random.default_rng(0).permutation(np.repeat(np.arange(12), 5))
    assert retrieval_metrics(similarity_ranks(np.eye(12), np.eye(12)[owner], owner))["mean_recall"] == 100


def test_hand_computed_metrics():
    metrics = retrieval_metrics(Ranks(i2t=np.array([0, 4, 5, -1, 20]), t2i=np.array([0, 0, 9, 10])))
    assert [metrics[f"i2t_r{k}"] for k in (1, 5, 10)] == [25, 50, 75]
    assert [metrics[f"t2i_r{k}"] for k in (1, 5, 10)] == [50, 50, 75]
    assert metrics["i2t_median_rank"] == 5  # median 4.5, floor 4, plus 1
    assert metrics["t2i_median_rank"] == 5
    assert metrics["mean_recall"] == pytest.approx((25 + 50 + 75 + 50 + 50 + 75) / 6)


def test_images_without_texts_are_candidates_but_no_queries():
    ranks = similarity_ranks(np.array([[1.0], [2.0]]), np.array([[1.0]]), np.array([0]))
    assert ranks.i2t.tolist() == [0, -1]
    assert ranks.t2i.tolist() == [1]


@settings(max_examples=6)
@given(counts=st.lists(st.integers(0, 4), min_size=2, max_size=15).filter(any), seed=st.integers(0, 100))
def test_chance_equals_shuffled_rankings(counts, seed):
    generator = np.random.default_rng(seed)
    owner, rounds = np.repeat(np.arange(len(counts)), counts), 400
    i2t, t2i = [], []
    for _ in range(rounds):
        ranks = looped_ranks(generator.random((len(counts), len(owner))), owner)
        i2t += [rank for rank in ranks[0] if rank >= 0]
        t2i += ranks[1]
    drawn = retrieval_metrics(Ranks(np.array(i2t), np.array(t2i)))
    expected = chance_retrieval(len(counts), counts)
    assert tuple(expected) == METRICS
    for name in METRICS:
        if name.endswith("median_rank"):
            assert abs(drawn[name] - expected[name]) <= 1
        else:
            # Five standard errors of a share over the independent rounds.
            assert drawn[name] == pytest.approx(expected[name], abs=5 * 50 / np.sqrt(rounds))


@quick
@given(counts=st.lists(st.integers(0, 7), min_size=1, max_size=30).filter(any))
def test_chance_recall_equals_the_hypergeometric_law(counts):
    chance, total, queries = chance_retrieval(len(counts), counts), sum(counts), [m for m in counts if m]
    for k in (1, 5, 10):
        hit = [hypergeom.sf(0, total, m, min(k, total)) for m in queries]
        assert chance[f"i2t_r{k}"] == pytest.approx(100 * np.mean(hit))
        assert chance[f"t2i_r{k}"] == pytest.approx(100 * min(1, k / len(counts)))


def test_chance_on_the_flickr8k_protocol():
    chance = chance_retrieval(1000, np.full(1000, 5))
    assert [round(chance[f"i2t_r{k}"], 1) for k in (1, 5, 10)] == [0.1, 0.5, 1.0]
    assert [chance[f"t2i_r{k}"] for k in (1, 5, 10)] == pytest.approx([0.1, 0.5, 1.0])
    assert chance["t2i_median_rank"] == 500
    # 1 - C(4995, 10) / C(5000, 10), by hand: 1 - prod_{j<10} (4995 - j) / (5000 - j)
    assert chance["i2t_r10"] == pytest.approx(
        100 * (1 - np.prod([(4995 - j) / (5000 - j) for j in range(10)]))
    )


def test_random_embeddings_score_about_chance():
    generator = np.random.default_rng(0)
    owner = np.repeat(np.arange(300), 5)
    ranks = similarity_ranks(generator.normal(size=(300, 32)), generator.normal(size=(1500, 32)), owner)
    measured, chance = retrieval_metrics(ranks), chance_retrieval(300, np.full(300, 5))
    assert measured["mean_recall"] == pytest.approx(chance["mean_recall"], abs=2)
    assert measured["t2i_median_rank"] == pytest.approx(chance["t2i_median_rank"], rel=0.2)


@pytest.mark.parametrize(
    ("image", "text", "owner", "message"),
    [
        ([[np.nan]], [[1.0]], [0], "NaN"),
        ([[1.0]], [[np.inf]], [0], "infinite"),
        ([[1.0, 2.0]], [[1.0]], [0], "wide"),
        ([[1.0]], [[1.0]], [1], "outside"),
        ([[1.0]], [[1.0]], [-1], "outside"),
        ([[1.0]], [[1.0]], [0, 0], "whole numbers"),
        ([[1.0]], [[1.0]], [0.0], "whole numbers"),
        ([[1.0]], np.zeros((0, 1)), [], "nothing to retrieve"),
        ([1.0], [[1.0]], [0], "axes"),
    ],
)
def test_senseless_embeddings_raise(image, text, owner, message):
    with pytest.raises(ValueError, match=message):
        similarity_ranks(image, text, owner)


@pytest.mark.parametrize(("images", "counts"), [(2, [1]), (2, [0, 0]), (2, [-1, 2])])
def test_senseless_counts_raise(images, counts):
    with pytest.raises(ValueError, match="texts_per_image"):
        chance_retrieval(images, counts)


def test_no_query_raises():
    with pytest.raises(ValueError, match="nothing to retrieve"):
        retrieval_metrics(Ranks(np.array([-1]), np.array([], dtype=np.int64)))

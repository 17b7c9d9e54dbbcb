"""Similarities of clean and poisoned models, against slow formulas."""

import math
import statistics
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmer_core.record import Interval
from mmer_core.stages.poison.similarities import (
    GRID,
    LEAST_PHOTOS,
    LEAST_TEXTS,
    Change,
    box,
    density,
    distances,
    pair_similarity,
    recall_changes,
    word_drops,
)
from mmer_core.statistics.trainings import mean_over_trainings


def drawn(seed, seeds=1, size=60):
    generator = np.random.default_rng(seed)
    clean = generator.normal(0.5, 0.2, (seeds, size))
    poisoned = clean - generator.normal(0.1, 0.1, (seeds, size))
    texts = [" ".join(generator.choice(["dog", "cat", "runs", "grass", "snow"], 3)) for _ in range(size)]
    return Change("joint", "backdoor", 4, clean, poisoned), texts


@given(st.integers(0, 10**6), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_drops_are_differences_of_means(seed, seeds):
    change, texts = drawn(seed, seeds)
    rows = word_drops([change], texts, np.arange(len(texts)) // 2)
    words = {word for text in texts for word in text.split()}
    places = {word: [place for place, text in enumerate(texts) if word in text.split()] for word in words}
    usual = {
        word
        for word, held in places.items()
        if len(held) >= LEAST_TEXTS and len({place // 2 for place in held}) >= LEAST_PHOTOS
    }
    assert {row["word"] for row in rows} == usual
    assert [row["drop"] for row in rows] == sorted((row["drop"] for row in rows), reverse=True)
    for row in rows:
        held = [place for place, text in enumerate(texts) if row["word"] in text.split()]
        before = [change.clean[s, place] for s in range(seeds) for place in held]
        after = [change.poisoned[s, place] for s in range(seeds) for place in held]
        assert row["texts"] == len(held)
        assert row["drop"] == pytest.approx(statistics.fmean(before) - statistics.fmean(after))
        assert row["drop_low"] < row["drop"] < row["drop_high"]


def test_words_of_few_photos_are_left_out():
    clean, poisoned = np.random.default_rng(0).normal(size=(2, 1, 40))
    texts = ["tire"] * 20 + ["pool"] * 20
    photos = np.r_[np.arange(20) // 5, 4 + np.arange(20) // 4]
    rows = word_drops([Change("joint", "backdoor", 4, clean, poisoned)], texts, photos)
    assert [row["word"] for row in rows] == ["pool"]


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=30).filter(lambda one: np.ptp(one) > 1e-3))
@settings(max_examples=40)
def test_interval_of_a_single_training_is_the_one_sample_t_interval(values):
    found = mean_over_trainings([values])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.value == pytest.approx(statistics.fmean(values))


def test_equal_trainings_are_as_sure_as_one_and_other_trainings_less():
    generator = np.random.default_rng(0)
    values = generator.normal(0.2, 0.1, 50)
    one, same = mean_over_trainings([values]), mean_over_trainings([values] * 4)
    assert (same.low, same.high) == pytest.approx((one.low, one.high))
    apart = mean_over_trainings([values + shift for shift in (-0.3, 0, 0.3)])
    assert apart.high - apart.low > 3 * (one.high - one.low)
    # Without variance between images it is Student's interval of the trainings.
    flat = mean_over_trainings(np.repeat([[0.1], [0.2], [0.6]], 20, axis=1))
    expected = stats.ttest_1samp([0.1, 0.2, 0.6], 0).confidence_interval(0.95)
    assert (flat.low, flat.high) == pytest.approx((expected.low, expected.high))


def test_the_interval_covers():
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        photo, training = generator.normal(0, 0.3, 40), generator.normal(0, 0.1, (3, 1))
        found = mean_over_trainings(photo + training + generator.normal(0, 0.2, (3, 40)))
        hits += found.low <= 0 <= found.high
    assert hits / 400 > 0.92


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=40).filter(lambda one: len(set(one)) > 1))
@settings(max_examples=40)
def test_boxes_by_hand(numbers):
    values = [one / 8 for one in sorted(numbers)]  # exact in binary, and so is all that follows

    def quantile(share):
        place = share * (len(values) - 1)
        low = math.floor(place)
        return values[low] + (place - low) * (values[min(low + 1, len(values) - 1)] - values[low])

    found = box(np.array(values))
    first, third = quantile(0.25), quantile(0.75)
    assert (found["first"], found["median"], found["third"]) == pytest.approx((first, quantile(0.5), third))
    reach = 1.5 * (third - first)
    inside = [one for one in values if first - reach <= one <= third + reach]
    assert (found["low"], found["high"]) == (min(inside), max(inside))


@given(st.integers(0, 10**6), st.integers(2, 25))
@settings(max_examples=20, deadline=None)
def test_densities_are_sums_of_kernels(seed, size):
    values = np.random.default_rng(seed).normal(size=size)
    found = density(values)
    width = statistics.stdev(values.tolist()) * size ** (-1 / 5)
    assert len(found["x"]) == GRID
    for x, height in list(zip(found["x"], found["density"], strict=True))[::40]:
        kernels = [math.exp(-(((x - one) / width) ** 2) / 2) for one in values.tolist()]
        assert height == pytest.approx(sum(kernels) / (size * width * math.sqrt(2 * math.pi)), abs=1e-12)


def test_distances_are_of_clean_and_poisoned_models_and_large_ones_are_drawn():
    change, _ = drawn(0, seeds=2, size=30)
    change.clean[0, 0] = np.nan
    rows = distances([change, Change("joint", "collision", 4, change.clean, change.poisoned)])
    assert [row["attack"] for row in rows] == ["clean", "backdoor", "collision"]
    assert (rows[0]["pairs"], rows[1]["pairs"]) == (59, 60)
    assert rows[1]["median"] == pytest.approx(statistics.median((1 - change.poisoned).ravel().tolist()))
    large = np.random.default_rng(0).normal(size=(1, 12_000))
    (_, one) = distances([Change("joint", "backdoor", 4, large, large)])
    assert (one["pairs"], one["drawn"]) == (12_000, 10_000)


def test_recalls_of_the_largest_count_beside_the_clean_ones():
    def row(attack, count, value):
        recalls = {"i2t_r1": Interval(value, value - 1, value + 1)}
        return {"family": "joint", "attack": attack, "count": count, "recalls": recalls}

    found = recall_changes(
        [row("backdoor", 4, 30.0), row("backdoor", 2, 9.0), row("backdoor", 4, 32.0), row("clean", 0, 40.0)]
    )
    assert [(one["attack"], one["count"]) for one in found] == [("clean", 0), ("backdoor", 4)]
    assert found[0]["recalls"]["i2t_r1"] == Interval(40.0, 39.0, 41.0)
    assert found[1]["recalls"]["i2t_r1"].value == pytest.approx(31)


def test_pairs_of_captions_and_of_people(tmp_path):
    generator = np.random.default_rng(0)
    images, texts = (
        generator.normal(size=(3, 4)).astype(np.float32),
        generator.normal(size=(5, 4)).astype(np.float32),
    )
    np.save(tmp_path / "embedding_image.npy", images)
    np.save(tmp_path / "embedding_text.npy", texts)
    owner = np.array([0, 0, 1, 2, 2])
    split = SimpleNamespace(text_sample=owner, texts=["a"] * 5)
    found = pair_similarity(tmp_path, SimpleNamespace(task="retrieval"), split)
    for text, image in enumerate(owner):
        expected = (
            math.sumprod(images[image].tolist(), texts[text].tolist())
            if hasattr(math, "sumprod")
            else float(images[image] @ texts[text])
        )
        expected /= math.dist([0] * 4, images[image].tolist()) * math.dist([0] * 4, texts[text].tolist())
        assert found[text] == pytest.approx(expected, rel=1e-5)
    people = generator.normal(size=(5, 4)).astype(np.float32)
    people[3] = 0
    np.save(tmp_path / "embedding_context.npy", people)
    spec = SimpleNamespace(task="emotion", network="joint", streams=("context", "text"))
    found = pair_similarity(tmp_path, spec, split)
    assert np.isnan(found).tolist() == [False, False, False, True, False]
    assert (
        pair_similarity(tmp_path, SimpleNamespace(task="emotion", network="separate", streams=()), split)
        is None
    )

"""Metrics of captions against a library, and against slow formulas from the papers."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.text import bleu_score

from mmer_core.config import EvaluationConfig
from mmer_core.evaluation.averaging import average
from mmer_core.evaluation.caption_metrics import (
    METRICS,
    bleu,
    bleu_counts,
    caption_intervals,
    caption_statistic,
    cider,
    rouge_l,
)
from mmer_core.evaluation.record import EvaluationRecord
from mmer_core.record import Interval

CAPTION = st.lists(st.sampled_from(["a", "dog", "runs", "on", "snow", "the"]), min_size=1, max_size=9)
PHOTOS = st.lists(st.tuples(CAPTION, st.lists(CAPTION, min_size=1, max_size=3)), min_size=2, max_size=6)
Photo = tuple[list[str], list[list[str]]]


def split(photos: Sequence[Photo]) -> tuple[list[list[str]], list[list[list[str]]]]:
    return [one for one, _ in photos], [own for _, own in photos]


@settings(max_examples=40, deadline=None)
@given(PHOTOS)
def test_bleu_is_the_librarys(photos: list[Photo]) -> None:
    """Of references whose lengths are equally near the library takes the first, and mmer the shorter, as sacrebleu does."""
    written, references = split(photos)
    found = bleu(bleu_counts(written, references).sum(axis=0)[:, None])[:, 0]
    texts = [[" ".join(one) for one in sorted(own, key=len)] for own in references]
    for n in range(1, 5):
        expected = bleu_score([" ".join(one) for one in written], texts, n_gram=n)
        assert found[n - 1] == pytest.approx(100 * float(expected), abs=1e-3)


def slow_lcs(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """By its recursion, Lin 2004."""

    @cache
    def longest(i: int, j: int) -> int:
        if not (i and j):
            return 0
        if one[i - 1] == other[j - 1]:
            return longest(i - 1, j - 1) + 1
        return max(longest(i - 1, j), longest(i, j - 1))

    return longest(len(one), len(other))


@settings(max_examples=60, deadline=None)
@given(PHOTOS)
def test_rouge_is_the_f_of_the_longest_common_subsequence(photos: list[Photo]) -> None:
    for (caption, own), found in zip(photos, rouge_l(*split(photos)), strict=True):
        lengths = [slow_lcs(tuple(caption), tuple(one)) for one in own]
        p = max(length / len(caption) for length in lengths)
        r = max(length / len(one) for length, one in zip(lengths, own, strict=True))
        expected = (1 + 1.44) * p * r / (r + 1.44 * p) if lengths and max(lengths) else 0.0
        assert found == pytest.approx(expected)


def slow_cider(photos: Sequence[Photo], index: int) -> float:
    """Equations 1 to 3 of the paper with CIDEr-D's clipping, over the vector of all n-grams that there are."""
    caption, own = photos[index]

    def count(gram: tuple[str, ...], words: list[str]) -> int:
        return sum(tuple(words[at : at + len(gram)]) == gram for at in range(len(words)))

    total = 0.0
    for n in range(1, 5):
        every = {
            tuple(words[at : at + n])
            for one, theirs in photos
            for words in (one, *theirs)
            for at in range(len(words) - n + 1)
        }
        weight = {
            gram: math.log(
                len(photos) / max(1, sum(any(count(gram, one) for one in theirs) for _, theirs in photos))
            )
            for gram in every
        }
        order = sorted(every)
        mine = np.array([count(gram, caption) * weight[gram] for gram in order])
        for reference in own:
            theirs = np.array([count(gram, reference) * weight[gram] for gram in order])
            lengths = np.linalg.norm(mine) * np.linalg.norm(theirs) if order else 0.0
            near = math.exp(-((len(caption) - len(reference)) ** 2) / (2 * 6.0**2))
            if lengths:
                total += near * float(np.minimum(mine, theirs) @ theirs) / lengths / len(own)
    return 10 * total / 4


@settings(max_examples=60, deadline=None)
@given(PHOTOS)
def test_cider_is_the_papers_formula(photos: list[Photo]) -> None:
    found = cider(*split(photos))
    for index in range(len(photos)):
        assert found[index] == pytest.approx(slow_cider(photos, index), abs=1e-9)


def test_a_caption_of_people_scores_full_marks() -> None:
    references = [[["a", "dog", "runs", "on", "snow"]], [["the", "red", "car", "is", "parked", "here"]]]
    intervals = caption_intervals([own[0] for own in references], references, EvaluationConfig(resamples=10))
    assert [intervals[name].value for name in METRICS] == [pytest.approx(100)] * 5 + [pytest.approx(1000)]


def test_an_empty_caption_scores_nothing() -> None:
    found = caption_statistic([[], []], [[["a", "dog"]], [["a", "cat"]]])(np.ones((2, 1)))
    assert found[:, 0].tolist() == [0.0] * 6


def test_weights_are_repetitions() -> None:
    rng = np.random.default_rng(0)
    words = ["a", "dog", "runs", "on", "snow", "the", "red", "car"]
    photos = [
        (
            [*rng.choice(words, rng.integers(3, 9))],
            [[*rng.choice(words, rng.integers(3, 9))] for _ in range(3)],
        )
        for _ in range(8)
    ]
    written, references = split(photos)
    weights = rng.integers(0, 3, (8, 4)).astype(float)
    found = caption_statistic(written, references)(weights)
    counts = bleu_counts(written, references)
    means = np.stack([rouge_l(written, references), cider(written, references)])
    for column in range(4):
        drawn = np.repeat(np.arange(8), weights[:, column].astype(int))
        assert found[:4, column] == pytest.approx(bleu(counts[drawn].sum(axis=0)[:, None])[:, 0])
        assert found[4:, column] == pytest.approx(100 * means[:, drawn].mean(axis=1))


def test_intervals_hold_the_value_and_follow_the_seed() -> None:
    rng = np.random.default_rng(1)
    words = ["a", "dog", "runs", "on", "snow", "the", "red", "car"]
    references = [[[*rng.choice(words, 7)] for _ in range(5)] for _ in range(60)]
    written = [[*own[0][:5], *rng.choice(words, 2)] for own in references]
    config = EvaluationConfig(resamples=200)
    found = caption_intervals(written, references, config)
    for one in found.values():
        assert one.low < one.value < one.high
    assert found == caption_intervals(written, references, config)
    assert found != caption_intervals(written, references, config.model_copy(update={"seed": 1}))


def test_figures_above_100_have_a_mean_over_trainings() -> None:
    """CIDEr-D is no share."""
    one = EvaluationRecord(
        task="retrieval",
        split="val",
        n=9,
        clusters=9,
        baselines={},
        metrics={"cider": Interval(150.0, 140.0, 160.0), "bleu4": Interval(20.0, 18.0, 22.0)},
    )
    other = one.model_copy(update={"metrics": one.metrics | {"cider": Interval(156.0, 146.0, 166.0)}})
    found = average([one, other]).record.metrics["cider"]
    assert found.value == 153.0
    assert found.low < 153.0 < found.high


def test_a_photo_needs_references() -> None:
    with pytest.raises(ValueError, match="2 captions do not go with references of 1 photos"):
        caption_intervals([["a"], ["b"]], [[["a"]], []], EvaluationConfig())

"""Which words go with captions that a model places near their photo, and which with captions far from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmer_core.config import EvaluationConfig
from mmer_core.datasets.vocabulary import words
from mmer_core.evaluation.arrays import FloatArray, finite
from mmer_core.evaluation.record import WordSimilarity
from mmer_core.heavy import sparse
from mmer_core.statistics.multiplicity import holm
from mmer_core.statistics.resampling import resampled

LEAST_TEXTS = 10
"""A word counts if it occurs in at least this many texts and is missing from at least this many."""
MOST_WORDS = 500


def word_similarities(
    similarity: npt.ArrayLike,
    texts: Sequence[str],
    text_image: npt.ArrayLike,
    config: EvaluationConfig,
    *,
    least: int = LEAST_TEXTS,
    most: int = MOST_WORDS,
) -> list[WordSimilarity]:
    """Mean similarity of texts with their own images, for texts that hold a word against texts that do not.

    The difference in means is an association, not an effect of the word: words co-occur. Of many
    words, a share of 1 - confidence lies outside its interval by chance; ``p`` is corrected for that, by Holm.

    Args:
        similarity: ``(T,)`` cosine of each text with its own image.
        texts: ``T``; words are runs of letters and digits in lower case, each counted once a text.
        text_image: ``(T,)`` image of each text, or its group; what is drawn, because captions of one image are alike.
        config: Resamples, confidence and seed of the intervals.
        least: Texts that must hold a word, and texts that must not.
        most: Most words, commonest first.

    Returns:
        By falling difference.

    Raises:
        ValueError: NaN, or lengths that do not fit.
    """
    score = finite("similarity", similarity, 1)
    owner = np.unique(np.asarray(text_image), return_inverse=True)[1]
    if not len(score) == len(texts) == len(owner):
        raise ValueError(
            f"{len(score)} similarities, {len(texts)} texts and {len(owner)} images do not match"
        )
    held = [set(words(text)) for text in texts]
    counts = Counter(word for one in held for word in one)
    common = sorted(counts, key=lambda word: (-counts[word], word))
    chosen = [word for word in common if least <= counts[word] <= len(texts) - least][:most]
    if not chosen:
        return []
    holds = _indicator(held, chosen)  # (W, T)

    def means(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """``(W, R)`` mean similarity of the texts with and without each word, for ``weights (T, R)``."""
        weighted = weights * score[:, None]
        with_count, with_total = holds @ weights, holds @ weighted
        without_count = weights.sum(axis=0) - with_count
        return _ratio(with_total, with_count), _ratio(weighted.sum(axis=0) - with_total, without_count)

    def difference(weights: FloatArray) -> FloatArray:
        held_mean, rest_mean = means(weights[owner])
        return held_mean - rest_mean

    found = resampled(difference, int(owner.max()) + 1, config.resamples, config.seed)
    intervals, p = found.intervals(config.confidence), holm(found.p_values())
    held_mean, rest_mean = (column[:, 0] for column in means(np.ones((len(score), 1))))
    order = sorted(range(len(chosen)), key=lambda row: (rest_mean[row] - held_mean[row], chosen[row]))
    return [
        WordSimilarity(
            word=chosen[row],
            texts=counts[chosen[row]],
            mean=held_mean[row],
            rest=rest_mean[row],
            difference=intervals[row],
            p=p[row],
        )
        for row in order
    ]


def _indicator(held: Sequence[set[str]], chosen: Sequence[str]) -> sparse.csr_array:
    """``(W, T)`` 1 where a text holds a word."""
    row = {word: number for number, word in enumerate(chosen)}
    pairs = [(row[word], text) for text, one in enumerate(held) for word in one if word in row]
    places = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return sparse.csr_array(
        (np.ones(places.shape[1]), (places[0], places[1])), shape=(len(chosen), len(held))
    )


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)

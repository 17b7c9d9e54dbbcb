"""How close written captions come to people's: BLEU, ROUGE-L and CIDEr-D, each from figures of single photos.

Libraries give one figure of all photos; an interval needs to know what each photo adds to it. So these follow the papers,
and tests hold them against a library and slow formulas. All are in percent, CIDEr-D of what papers print as such (100 times
the paper's, so that it can exceed 100). Words are those of `mmer_core.models.decoders.caption_words`: in small letters, no
punctuation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmer_core.config import EvaluationConfig
from mmer_core.record import Interval
from mmer_core.statistics.resampling import FloatArray, Statistic, resampled

Words = Sequence[str]
Grams = Counter[tuple[str, ...]]

ORDERS = 4
"""Longest n-gram, in words."""
METRICS = (*(f"bleu{n}" for n in range(1, ORDERS + 1)), "rouge_l", "cider")

_BETA = 1.2  # of ROUGE-L's F, by which recall outweighs precision, as in the evaluation of COCO's captions
_SIGMA = 6.0  # of CIDEr-D: words by which lengths may differ


def caption_intervals(
    written: Sequence[Words],
    references: Sequence[Sequence[Words]],
    config: EvaluationConfig,
    clusters: npt.ArrayLike | None = None,
) -> dict[str, Interval]:
    """Each of `METRICS` with its interval; photos are drawn, and the weights of CIDEr's words stay those of all references.

    Args:
        written: The words of one caption for each of ``N`` photos.
        references: People's captions of each, at least one.
        config: Resamples, confidence and seed of the intervals.
        clusters: ``(N,)`` the group of each photo; each its own when left out.

    Raises:
        ValueError: Not as many captions as photos, or a photo without references.
    """
    statistic = caption_statistic(written, references)
    found = resampled(statistic, len(written), config.resamples, config.seed, clusters)
    highest = [100.0] * (ORDERS + 1) + [1000.0]
    return dict(zip(METRICS, found.intervals(config.confidence, 0, highest), strict=True))


def caption_statistic(written: Sequence[Words], references: Sequence[Sequence[Words]]) -> Statistic:
    """``weights (N, R) -> (len(METRICS), R)``."""
    if len(written) != len(references) or not all(references):
        raise ValueError(
            f"{len(written)} captions do not go with references of {sum(map(bool, references))} photos"
        )
    counts = bleu_counts(written, references)
    means = np.stack([rouge_l(written, references), cider(written, references)])
    return lambda weights: np.concatenate(
        [bleu(counts.T @ weights), 100 * means @ weights / weights.sum(axis=0)]
    )


def bleu_counts(written: Sequence[Words], references: Sequence[Sequence[Words]]) -> FloatArray:
    """``(N, 2 * ORDERS + 2)`` of each photo: n-grams that a reference has, as often as the one that has most of it; all
    n-grams; words; and words of the reference whose length is nearest, of two the shorter."""
    rows = []
    for caption, own in zip(written, references, strict=True):
        grams, limits = _grams(caption), _most([*map(_grams, own)])
        found, whole = [0] * ORDERS, [max(0, len(caption) - n) for n in range(ORDERS)]
        for gram, count in grams.items():
            found[len(gram) - 1] += min(count, limits.get(gram, 0))
        nearest = min((abs(len(one) - len(caption)), len(one)) for one in own)[1]
        rows.append([*found, *whole, len(caption), nearest])
    return np.array(rows, dtype=np.float64)


def bleu(counts: FloatArray) -> FloatArray:
    """``(ORDERS, R)`` BLEU-1 to BLEU-4 in percent, of sums ``(2 * ORDERS + 2, R)`` of `bleu_counts`.

    Papineni et al. 2002, https://aclanthology.org/P02-1040, section 2.3, without smoothing: the geometric mean of the
    precisions of n-grams up to n words, times a penalty where captions are shorter than the references.
    """
    found, whole = counts[:ORDERS], counts[ORDERS : 2 * ORDERS]
    length, wanted = counts[-2], counts[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.divide(found, whole, out=np.zeros_like(found), where=whole > 0))
        means = np.cumsum(logs, axis=0) / np.arange(1, ORDERS + 1)[:, None]
        penalty = np.minimum(
            0, 1 - np.divide(wanted, length, out=np.full_like(wanted, np.inf), where=length > 0)
        )
    return 100 * np.exp(means + penalty)


def rouge_l(written: Sequence[Words], references: Sequence[Sequence[Words]]) -> FloatArray:
    """``(N,)`` in 0..1: F of the longest common subsequence with the references; its best precision and best recall.

    Lin 2004, *ROUGE*, https://aclanthology.org/W04-1013, section 3; several references and beta = 1.2 as in the evaluation of
    COCO's captions (Chen et al. 2015, https://arxiv.org/abs/1504.00325).
    """
    values = []
    for caption, own in zip(written, references, strict=True):
        common = [(_longest_common(caption, one), len(one)) for one in own]
        precision = max(length for length, _ in common) / max(1, len(caption))
        recall = max(length / max(1, words) for length, words in common)
        both = recall + _BETA**2 * precision
        values.append((1 + _BETA**2) * precision * recall / both if both else 0.0)
    return np.array(values)


def cider(written: Sequence[Words], references: Sequence[Sequence[Words]]) -> FloatArray:
    """``(N,)`` CIDEr-D in 0..10: likeness to the references in n-grams, each weighted by how few photos' references have it.

    Vedantam, Zitnick and Parikh 2015, *CIDEr*, https://arxiv.org/abs/1411.5726, section 4 and the robust form of its
    section 5.3: counts above a reference's do not help, and lengths that differ cost (sigma = 6).
    """
    known = [[_grams(one) for one in own] for own in references]
    photos: Grams = Counter()
    for grams in known:
        photos.update({gram for one in grams for gram in one})
    total = math.log(len(references)) if len(references) > 1 else 1.0

    def weighted(grams: Grams) -> tuple[dict[tuple[str, ...], float], list[float]]:
        """TF-IDF of n-grams, and for every n the length of its vector."""
        vector = {gram: count * (total - math.log(max(1, photos[gram]))) for gram, count in grams.items()}
        squares = [0.0] * ORDERS
        for gram, value in vector.items():
            squares[len(gram) - 1] += value**2
        return vector, [math.sqrt(one) for one in squares]

    values = []
    for caption, own, grams in zip(written, references, known, strict=True):
        mine, length = weighted(_grams(caption))
        score = 0.0
        for reference, theirs in zip(own, map(weighted, grams), strict=True):
            vector, wanted = theirs
            products = [0.0] * ORDERS
            for gram, value in mine.items():
                other = vector.get(gram, 0.0)
                products[len(gram) - 1] += min(value, other) * other
            near = math.exp(-((len(caption) - len(reference)) ** 2) / (2 * _SIGMA**2))
            score += near * sum(
                product / (one * two)
                for product, one, two in zip(products, length, wanted, strict=True)
                if one * two
            )
        values.append(10 * score / ORDERS / len(own))
    return np.array(values)


def _grams(words: Words) -> Grams:
    """How often each n-gram of 1 to `ORDERS` words occurs."""
    return Counter(
        tuple(words[at : at + n]) for n in range(1, ORDERS + 1) for at in range(len(words) - n + 1)
    )


def _most(several: Sequence[Grams]) -> Grams:
    most: Grams = Counter()
    for one in several:
        most |= one
    return most


def _longest_common(one: Words, other: Words) -> int:
    """Words of the longest subsequence of both."""
    lengths = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for at, theirs in enumerate(other, start=1):
            before, lengths[at] = (
                lengths[at],
                before + 1 if word == theirs else max(lengths[at], lengths[at - 1]),
            )
    return lengths[-1]

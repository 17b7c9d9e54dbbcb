"""Certificates of randomised ablation: how many pixels may change before the decision by most drawings can.

Levine and Feizi 2020, *Robustness Certificates for Sparse Adversarial Attacks by Randomized Ablation*,
https://arxiv.org/abs/1911.09272. A drawing keeps ``k`` of an image's ``d`` pixels. Whatever is done to ``rho`` of them, only
drawings that keep one of these can decide otherwise, and their share is ``1 - C(d - rho, k) / C(d, k)``. So a decision of
more than a half plus that share of all drawings stays that of more than a half. Its share is not known but bounded
from below, by drawings other than those that suggested the decision (Cohen, Rosenfeld and Kolter 2019,
https://arxiv.org/abs/1902.02918).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

ABSTAINED = -1
"""The radius where no decision is shown to be that of most drawings."""

_ROUNDING = 1e-9
"""More than the rounding of any product or quantile here: what is certified holds in exact arithmetic."""


class Certificates(NamedTuple):
    """Of ``n`` images.

    Attributes:
        decision: ``(n,)`` that most of the first drawings suggest.
        hits: ``(n,)`` further drawings with this decision.
        lower: ``(n,)`` bound on its share of all drawings, from below.
        radius: ``(n,)`` most pixels that may change in any way without another decision by most drawings, or `ABSTAINED`.
    """

    decision: Ints
    hits: Ints
    lower: FloatArray
    radius: Ints


def certificates(
    votes: npt.ArrayLike, guesses: int, confidence: float, pixels: int, kept: int
) -> Certificates:
    """What votes certify; each image's certificate is wrong with a chance of at most ``1 - confidence``.

    Args:
        votes: ``(n, guesses + draws)`` decisions, 0 or above, by independent drawings.
        guesses: How many of them suggest the decision, of which the others then count.
        confidence: 0..1.
        pixels: Of an image.
        kept: Of them.
    """
    found = np.asarray(votes, dtype=np.int64)
    decision = np.array([np.bincount(row).argmax() for row in found[:, :guesses]], dtype=np.int64)
    counted = found[:, guesses:]
    hits = (counted == decision[:, None]).sum(axis=1)
    lower = lower_bound(hits, counted.shape[1], confidence)
    return Certificates(decision, hits, lower, radii(lower, pixels, kept))


def lower_bound(hits: npt.ArrayLike, draws: int, confidence: float) -> FloatArray:
    """The share in 0..1 that ``hits`` of ``draws`` show to be exceeded: Clopper and Pearson's one-sided bound.

    Clopper and Pearson 1934, *The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial*,
    https://doi.org/10.1093/biomet/26.4.404.
    """
    from scipy.stats import beta

    hit = np.asarray(hits, dtype=np.float64)
    return np.where(hit > 0, beta.ppf(1 - confidence, np.maximum(hit, 1), draws - hit + 1), 0.0)


def least_draws(confidence: float) -> int:
    """Fewest draws that can certify anything at all: with all of them alike, the bound exceeds a half."""
    return int(np.floor(np.log(1 - confidence) / np.log(0.5))) + 1


def unseen(pixels: int, kept: int) -> FloatArray:
    """``(pixels - kept + 1,)`` the share of drawings that keep none of 0, 1, 2, ... given pixels: ``C(d - rho, k) / C(d, k)``."""
    changed = np.arange(pixels - kept)
    return np.concatenate([[1.0], np.cumprod((pixels - kept - changed) / (pixels - changed))])


def radii(lower: npt.ArrayLike, pixels: int, kept: int) -> Ints:
    """The largest ``rho`` with ``lower - (1 - unseen) > 1/2``, `ABSTAINED` where there is none.

    Args:
        lower: Bounds on the share of drawings with a decision, any shape.
        pixels: Of an image.
        kept: Of them.
    """
    bar = 1.5 - np.asarray(lower, dtype=np.float64) + _ROUNDING
    return np.searchsorted(-unseen(pixels, kept), -bar) - 1

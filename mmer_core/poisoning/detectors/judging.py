"""From scores to flags, and how good the flags are where the poisons are known."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmer_core.errors import PoisonError
from mmer_core.poisoning.detectors.checks import Flags, Floats, by_label, checked_scores

FLAGS_FILE = "flags.npy"
"""Where a stage leaves its flags: ``(N,)`` bool, one a sample of the poisoned set."""


@dataclass(frozen=True)
class Detection:
    """What a detector found of ``poisons`` among ``samples``; shares in 0..1, None where nothing can be divided.

    Attributes:
        samples, poisons, flagged: Numbers of samples.
        precision: Share of the flagged that are poisons.
        recall: Share of the poisons that are flagged.
        false_positive_rate: Share of the clean samples that are flagged.
        auc: Probability that a poison scores higher than a clean sample (of its label, where labels are given), ties
            counting half.
    """

    samples: int
    poisons: int
    flagged: int
    precision: float | None
    recall: float | None
    false_positive_rate: float | None
    auc: float | None


def flag_at(scores: npt.ArrayLike, false_positive_rate: float, clean: npt.ArrayLike | None = None) -> Flags:
    """Flag as many as possible while at most that share of the clean samples is.

    Args:
        scores: ``(N,)``, higher is more suspicious.
        false_positive_rate: 0 to below 1.
        clean: ``(N,)`` booleans, the samples known to be clean; None: all count as clean, so at most that share
            of all samples is flagged.

    Raises:
        PoisonError: The rate is outside its range, a shape, or no sample is clean.
    """
    values = checked_scores(scores)
    known = np.ones(len(values), dtype=bool) if clean is None else _mask("clean", clean, len(values))
    if not 0 <= false_positive_rate < 1:
        raise PoisonError(f"the false-positive rate is {false_positive_rate}; give 0 to below 1")
    if not known.any():
        raise PoisonError("no sample is known to be clean, so no false-positive rate can be kept; mark some")
    highest = np.sort(values[known])[::-1]
    allowed = int(false_positive_rate * len(highest) + 1e-9)
    return values > highest[allowed]  # ties with the first that may not be flagged stay with it


def judge(
    scores: npt.ArrayLike, flags: npt.ArrayLike, poisons: npt.ArrayLike, labels: npt.ArrayLike | None = None
) -> Detection:
    """Compare scores and flags ``(N,)`` with the mask of the poisons ``(N,)``.

    Args:
        labels: ``(N,)`` integers from 0, for scores that are comparable within a label only; None: all are.

    Raises:
        PoisonError: A shape, or NaN.
    """
    values = checked_scores(scores)
    flagged, poison = _mask("flags", flags, len(values)), _mask("poisons", poisons, len(values))
    hits, number = int((flagged & poison).sum()), int(poison.sum())
    return Detection(
        samples=len(values),
        poisons=number,
        flagged=int(flagged.sum()),
        precision=_share(hits, int(flagged.sum())),
        recall=_share(hits, number),
        false_positive_rate=_share(int((flagged & ~poison).sum()), len(values) - number),
        auc=_auc(values, poison, labels),
    )


def _auc(values: Floats, poison: Flags, labels: npt.ArrayLike | None) -> float | None:
    """The Mann-Whitney statistic as a share of all pairs of one label."""
    from scipy.stats import rankdata

    above = pairs = 0.0
    for members in by_label(labels, len(values)):
        own = poison[members]
        positive = int(own.sum())
        above += rankdata(values[members])[own].sum() - positive * (positive + 1) / 2
        pairs += positive * (len(own) - positive)
    return float(above / pairs) if pairs else None


def _mask(what: str, mask: npt.ArrayLike, count: int) -> Flags:
    flags = np.asarray(mask)
    if flags.shape != (count,) or flags.dtype != np.bool_:
        raise PoisonError(f"{what} are {flags.dtype} {flags.shape} for {count} scores; give one boolean each")
    return flags


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None

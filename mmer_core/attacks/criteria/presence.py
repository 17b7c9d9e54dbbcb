"""Criteria on which categories are present: multi-label, by thresholds from calibration.

A category is present where its score is its threshold or more. Thresholds are in the units of the scores: for
log-odds, the log-odds of the calibrated probability; infinite for a category that is never claimed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmer_core.attacks.criteria.base import ComposableCriterion, check_columns, check_rows, just_below
from mmer_core.errors import AttackError
from mmer_core.heavy import torch
from mmer_core.transfer import table_on


class CategorySuppressed(ComposableCriterion):
    """One category is not present: its score is below its threshold.

    Args:
        category: The column, from 0.
        threshold: Score from which it counts as present.

    Raises:
        AttackError: ``category`` is negative or ``threshold`` is NaN.
    """

    def __init__(self, category: int, threshold: float) -> None:
        _check_category(category, threshold)
        self.category, self.threshold = category, threshold

    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return _score(self.category, scores) - just_below(scores.new_tensor(self.threshold))

    def __repr__(self) -> str:
        return f"CategorySuppressed(category={self.category}, threshold={self.threshold!r})"


class CategoryAppears(ComposableCriterion):
    """One category is present: its score is its threshold or more.

    Args:
        category: The column, from 0.
        threshold: Score from which it counts as present.

    Raises:
        AttackError: ``category`` is negative or ``threshold`` is NaN.
    """

    def __init__(self, category: int, threshold: float) -> None:
        _check_category(category, threshold)
        self.category, self.threshold = category, threshold

    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return self.threshold - _score(self.category, scores)

    def __repr__(self) -> str:
        return f"CategoryAppears(category={self.category}, threshold={self.threshold!r})"


class LabelsChange(ComposableCriterion):
    """The set of present categories is another one: at least one appears or is suppressed.

    The margin is the smallest distance of a category from the other side of its threshold.

    Args:
        clean_labels: ``(n, C)`` booleans, the categories present on each clean sample.
        thresholds: ``(C,)`` scores from which a category counts as present.

    Raises:
        AttackError: the shapes do not fit, ``clean_labels`` is not boolean, or a threshold is NaN.
    """

    def __init__(self, clean_labels: np.ndarray, thresholds: Sequence[float] | np.ndarray) -> None:
        labels, bars = np.asarray(clean_labels), np.asarray(thresholds, dtype=np.float64)
        if labels.dtype != np.bool_ or labels.ndim != 2 or bars.shape != labels.shape[1:]:
            raise AttackError(
                f"clean_labels are {labels.dtype} {labels.shape} for {bars.shape} thresholds; "
                "give booleans (n, C) and (C,)"
            )
        if np.isnan(bars).any() or not bars.size:
            raise AttackError("the thresholds of LabelsChange are none or hold NaN; give one a category")
        self._labels, self._thresholds = torch.from_numpy(labels), torch.from_numpy(bars)

    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        check_rows(rows, len(self._labels))
        if scores.shape[1] != len(self._thresholds):
            raise AttackError(
                f"the victim scores {scores.shape[1]} columns and LabelsChange has "
                f"{len(self._thresholds)} thresholds; give one a column"
            )
        bars, present = (
            table_on(self._thresholds, scores.device, scores.dtype),
            table_on(self._labels, scores.device)[rows],
        )
        return torch.where(present, scores - just_below(bars), bars - scores).amin(dim=1)

    def __repr__(self) -> str:
        samples, categories = self._labels.shape
        return f"LabelsChange(clean_labels=<{samples} samples>, thresholds=<{categories} categories>)"


def _check_category(category: int, threshold: float) -> None:
    if category < 0 or np.isnan(threshold):
        raise AttackError(
            f"category is {category} with threshold {threshold}; give a column from 0, a number"
        )


def _score(category: int, scores: torch.Tensor) -> torch.Tensor:
    check_columns(torch.tensor([category]), scores, others=0)
    return scores[:, category]

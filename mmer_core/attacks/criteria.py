"""Criteria: what counts as a success, apart from any attack and any model.

A criterion turns scores into a **margin**: how far the attacked image is from success. A margin of 0 or
less is a success; attacks only ever push margins down. Criteria compose: ``a & b`` succeeds when both do,
``a | b`` when either does (the larger, the smaller margin), so let them speak in comparable units.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from mmer_core.errors import AttackError


class Criterion(Protocol):
    """Scores to margins."""

    def margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """``(B, S)`` scores of the samples ``rows`` ``(B,)`` to ``(B,)`` margins; 0 or less is a success."""
        ...


class ComposableCriterion(ABC):
    """Base of our criteria: ``&``, ``|``, and scores checked before they are compared."""

    def margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """``(B, S)`` scores of the samples ``rows`` ``(B,)`` to ``(B,)`` margins; 0 or less is a success.

        Raises:
            AttackError: a score is NaN, a row is unknown, or the scores have too few columns.
        """
        broken = scores.isnan().any(dim=1)
        if broken.any():
            raise AttackError(
                f"the victim's scores for row {int(rows[broken.to(rows.device)][0])} hold NaN, "
                "which can be compared with nothing; repair the victim"
            )
        return self._margin(scores, rows.to(scores.device))

    @abstractmethod
    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The margins of scores without NaN; ``rows`` is on their device."""

    def __and__(self, other: Criterion) -> "AllOf":
        return AllOf(self, other)

    def __or__(self, other: Criterion) -> "AnyOf":
        return AnyOf(self, other)


class AllOf(ComposableCriterion):
    """Succeeds when both criteria do: the larger of their margins."""

    def __init__(self, first: Criterion, second: Criterion) -> None:
        self.first, self.second = first, second

    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return torch.maximum(self.first.margin(scores, rows), self.second.margin(scores, rows))

    def __repr__(self) -> str:
        return f"({self.first!r} & {self.second!r})"


class AnyOf(ComposableCriterion):
    """Succeeds when either criterion does: the smaller of their margins."""

    def __init__(self, first: Criterion, second: Criterion) -> None:
        self.first, self.second = first, second

    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return torch.minimum(self.first.margin(scores, rows), self.second.margin(scores, rows))

    def __repr__(self) -> str:
        return f"({self.first!r} | {self.second!r})"


class DominantEmotionFlip(ComposableCriterion):
    """The category with the highest score is no longer the one it was (a tie is a success).

    The margin is the score of the clean image's dominant category minus the best other score. It serves any
    single-label classifier too, with the clean prediction or the true class as ``clean_dominant``.

    Args:
        clean_dominant: ``(n,)`` integers, the column that is highest on each clean sample.

    Raises:
        AttackError: ``clean_dominant`` is not a list of integers from 0.
    """

    def __init__(self, clean_dominant: Sequence[int] | np.ndarray) -> None:
        columns = np.asarray(clean_dominant)
        if columns.ndim != 1 or (columns.size and (columns.dtype.kind not in "iu" or columns.min() < 0)):
            raise AttackError(
                f"clean_dominant is {clean_dominant!r}; give one column number, from 0, a sample"
            )
        self._columns = torch.from_numpy(columns.astype(np.int64))

    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        _check_rows(rows, len(self._columns))
        own = self._columns.to(scores.device)[rows][:, None]  # (B, 1)
        _check_columns(own, scores, others=1)
        others = scores.scatter(1, own, -torch.inf)
        return scores.gather(1, own)[:, 0] - others.amax(dim=1)

    def __repr__(self) -> str:
        return f"DominantEmotionFlip(clean_dominant=<{len(self._columns)} samples>)"


class RankDrop(ComposableCriterion):
    """No caption of the sample's own is left among the best ``top`` of the gallery.

    The margin is the best own score minus the ``top``-th best score among the other columns: at 0 or less,
    at least ``top`` others are ahead of, or tied with, every caption of its own.

    Args:
        own: For each sample, the columns of its own captions.
        top: How deep a caption may stand and still count as retrieved; at least 1.

    Raises:
        AttackError: ``top`` is below 1, or a sample has no own column or a negative one.
    """

    def __init__(self, own: Sequence[Sequence[int] | np.ndarray], top: int) -> None:
        if top < 1:
            raise AttackError(f"top is {top} in RankDrop; give 1 or more")
        columns = [np.asarray(sample, dtype=np.int64).reshape(-1) for sample in own]
        for row, sample in enumerate(columns):
            if not sample.size or sample.min() < 0:
                raise AttackError(
                    f"own columns of row {row} are {sample.tolist()}; give at least one, from 0"
                )
        self.top = top
        width = max((len(sample) for sample in columns), default=1)
        # Samples with fewer captions repeat their first one, which changes neither a maximum nor a mask.
        padded = [np.pad(sample, (0, width - len(sample)), constant_values=sample[0]) for sample in columns]
        self._own = torch.from_numpy(np.array(padded, dtype=np.int64).reshape(len(columns), width))
        self._captions = torch.tensor([len(np.unique(sample)) for sample in columns], dtype=torch.int64)

    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        _check_rows(rows, len(self._own))
        own = self._own.to(scores.device)[rows]  # (B, most own columns)
        if len(rows):
            most = int(self._captions.to(scores.device)[rows].max())
            _check_columns(own, scores, others=self.top + most - 1)
        others = scores.scatter(1, own, -torch.inf).topk(self.top, dim=1).values[:, -1]
        return scores.gather(1, own).amax(dim=1) - others

    def __repr__(self) -> str:
        return f"RankDrop(own=<{len(self._own)} samples>, top={self.top})"


def _check_rows(rows: torch.Tensor, known: int) -> None:
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < known:
        raise AttackError(
            f"rows {int(rows.min())}..{int(rows.max())} were scored, but the criterion knows {known} samples; "
            "build it for the samples under attack"
        )


def _check_columns(own: torch.Tensor, scores: torch.Tensor, others: int) -> None:
    """Every own column exists, and at least ``others`` columns stand beside one of them."""
    columns = scores.shape[1]
    if own.numel() and int(own.max()) >= columns:
        raise AttackError(f"the criterion reads column {int(own.max())} of scores that have {columns}")
    if columns < others + 1:
        raise AttackError(
            f"the victim scores {columns} columns and the criterion needs {others + 1}; "
            "lower top or score a larger gallery"
        )

"""Criteria: what counts as a success, apart from any attack and any model.

A criterion turns scores into a **margin**: how far the attacked image is from success. A margin of 0 or
less is a success; attacks only ever push margins down. Criteria compose: ``a & b`` succeeds when both do,
``a | b`` when either does (the larger, the smaller margin), so let them speak in comparable units.

Ties go against the model where it must hold something (a dominant emotion, a rank: a tie is a success), and
against the attack where it must reach something (a target: a tie is none).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from mmer_core.errors import AttackError
from mmer_core.heavy import torch
from mmer_core.transfer import to_device


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
        broken = scores.isnan()
        if bool(broken.any()):
            raise AttackError(
                f"the victim's scores for row {int(rows[broken.any(dim=1).to(rows.device)][0])} hold NaN, "
                "which can be compared with nothing; repair the victim"
            )
        return self._margin(scores, to_device(rows, scores.device))

    @abstractmethod
    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The margins of scores without NaN; ``rows`` is on their device."""

    def __and__(self, other: Criterion) -> AllOf:
        return AllOf(self, other)

    def __or__(self, other: Criterion) -> AnyOf:
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


def columns_of(name: str, given: Sequence[int] | np.ndarray) -> torch.Tensor:
    """``(n,)`` int64 column numbers, from 0; anything else is refused (AttackError)."""
    columns = np.asarray(given)
    if columns.ndim != 1 or (columns.size and (columns.dtype.kind not in "iu" or columns.min() < 0)):
        raise AttackError(f"{name} is {given!r}; give one column number, from 0, a sample")
    return torch.from_numpy(columns.astype(np.int64))


def just_above(bar: torch.Tensor) -> torch.Tensor:
    """The next number: ``just_above(bar) - score`` is 0 or less exactly where ``score > bar``."""
    from mmer_core.attacks.networks.neighbour import Neighbour

    return Neighbour.apply(bar, torch.inf)


def just_below(bar: torch.Tensor) -> torch.Tensor:
    """The number before: ``score - just_below(bar)`` is 0 or less exactly where ``score < bar``."""
    from mmer_core.attacks.networks.neighbour import Neighbour

    return Neighbour.apply(bar, -torch.inf)


def check_rows(rows: torch.Tensor, known: int) -> None:
    """Refuse rows ``(B,)`` outside the ``known`` samples (AttackError)."""
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < known:
        raise AttackError(
            f"rows {int(rows.min())}..{int(rows.max())} were scored, but the criterion knows {known} samples; "
            "build it for the samples under attack"
        )


def check_columns(own: torch.Tensor, scores: torch.Tensor, others: int) -> None:
    """Refuse scores without an ``own`` column, or with fewer than ``others`` beside one (AttackError)."""
    columns = scores.shape[1]
    if own.numel() and int(own.max()) >= columns:
        raise AttackError(f"the criterion reads column {int(own.max())} of scores that have {columns}")
    if columns < others + 1:
        raise AttackError(
            f"the victim scores {columns} columns and the criterion needs {others + 1}; lower top, score a larger gallery, "
            "or ask whether the one category is suppressed or appears"
        )

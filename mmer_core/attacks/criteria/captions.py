"""Criteria on image to text: where captions stand among the whole gallery, for an attacked image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmer_core.attacks.criteria.base import (
    ComposableCriterion,
    check_columns,
    check_rows,
    columns_of,
    just_above,
)
from mmer_core.errors import AttackError
from mmer_core.heavy import torch
from mmer_core.transfer import table_on


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
        self.top = top
        self._own = own_columns(own)
        self._captions = torch.tensor([len(np.unique(sample)) for sample in own], dtype=torch.int64)

    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        check_rows(rows, len(self._own))
        own = table_on(self._own, scores.device)[rows]  # (B, most own columns)
        if len(rows):
            most = int(table_on(self._captions, scores.device)[rows].max())
            check_columns(own, scores, others=self.top + most - 1)
        return scores.gather(1, own).amax(dim=1) - _best_but(own, scores, self.top)

    def __repr__(self) -> str:
        return f"RankDrop(own=<{len(self._own)} samples>, top={self.top})"


class RankRise(ComposableCriterion):
    """The targeted form: a caption that is not its own stands among the best ``top`` (a tie is no success).

    The margin is the ``top``-th best score among the other columns, or the next number above it, minus the
    target's.

    Args:
        target: ``(n,)`` integers, the column that each sample's attack wants to be retrieved.
        top: How deep it may stand and still count as retrieved; at least 1.

    Raises:
        AttackError: ``top`` is below 1, or ``target`` is not a list of integers from 0.
    """

    def __init__(self, target: Sequence[int] | np.ndarray, top: int) -> None:
        if top < 1:
            raise AttackError(f"top is {top} in RankRise; give 1 or more")
        self.top = top
        self._target = columns_of("target", target)

    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        check_rows(rows, len(self._target))
        target = table_on(self._target, scores.device)[rows][:, None]  # (B, 1)
        check_columns(target, scores, others=self.top)
        return just_above(_best_but(target, scores, self.top)) - scores.gather(1, target)[:, 0]

    def __repr__(self) -> str:
        return f"RankRise(target=<{len(self._target)} samples>, top={self.top})"


def own_columns(own: Sequence[Sequence[int] | np.ndarray]) -> torch.Tensor:
    """``(n, m)`` int64: the columns of each sample, those with fewer repeating their first one.

    That changes neither a maximum nor a mask. A sample without a column, or with a negative one, is refused
    (AttackError).
    """
    columns = [np.asarray(sample, dtype=np.int64).reshape(-1) for sample in own]
    for row, sample in enumerate(columns):
        if not sample.size or sample.min() < 0:
            raise AttackError(f"own columns of row {row} are {sample.tolist()}; give at least one, from 0")
    width = max((len(sample) for sample in columns), default=1)
    padded = [np.pad(sample, (0, width - len(sample)), constant_values=sample[0]) for sample in columns]
    return torch.from_numpy(np.array(padded, dtype=np.int64).reshape(len(columns), width))


def _best_but(own: torch.Tensor, scores: torch.Tensor, top: int) -> torch.Tensor:
    """The ``top``-th best score ``(B,)`` among the columns that are not ``own`` ``(B, m)``."""
    return scores.scatter(1, own, -torch.inf).topk(top, dim=1).values[:, -1]

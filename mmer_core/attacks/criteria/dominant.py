"""Criteria on which emotion stands highest: single-label."""

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
        self._columns = columns_of("clean_dominant", clean_dominant)

    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        own, others = _own_and_best_other(self._columns, scores, rows)
        return own - others

    def __repr__(self) -> str:
        return f"DominantEmotionFlip(clean_dominant=<{len(self._columns)} samples>)"


class DominantEmotionBecomes(ComposableCriterion):
    """The targeted form: the category with the highest score is the target (a tie is no success).

    The margin is the best other score, or the next number above it, minus the target's.

    Args:
        target: ``(n,)`` integers, the column that each sample's attack is after.

    Raises:
        AttackError: ``target`` is not a list of integers from 0.
    """

    def __init__(self, target: Sequence[int] | np.ndarray) -> None:
        self._columns = columns_of("target", target)

    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        target, others = _own_and_best_other(self._columns, scores, rows)
        return just_above(others) - target

    def __repr__(self) -> str:
        return f"DominantEmotionBecomes(target=<{len(self._columns)} samples>)"


class TopEmotionsChange(ComposableCriterion):
    """Any of the ``m`` highest categories leaves the first ``m`` (a tie is a success); their order is free.

    The margin is the lowest score of the ``m`` minus the best of the others. With ``m = 1`` it is
    ``DominantEmotionFlip``.

    Args:
        clean_top: ``(n, m)`` integers, the columns that are highest on each clean sample; ``m`` from 1.

    Raises:
        AttackError: ``clean_top`` has another shape, or a sample's columns are not different ones from 0.
    """

    def __init__(self, clean_top: Sequence[Sequence[int]] | np.ndarray) -> None:
        columns = np.asarray(clean_top)
        if columns.ndim != 2 or not columns.shape[1] or columns.dtype.kind not in "iu":
            raise AttackError(
                f"clean_top is {columns.dtype} {columns.shape}; give integers (n, m), m at least 1"
            )
        if columns.size and (columns.min() < 0 or (np.diff(np.sort(columns, axis=1), axis=1) == 0).any()):
            raise AttackError("the columns of a sample in clean_top are not m different ones from 0")
        self._top = torch.from_numpy(columns.astype(np.int64))

    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        check_rows(rows, len(self._top))
        top = table_on(self._top, scores.device)[rows]  # (B, m)
        check_columns(top, scores, others=top.shape[1])
        others = scores.scatter(1, top, -torch.inf)
        return scores.gather(1, top).amin(dim=1) - others.amax(dim=1)

    def __repr__(self) -> str:
        return f"TopEmotionsChange(clean_top=<{len(self._top)} samples>, m={self._top.shape[1]})"


def _own_and_best_other(
    columns: torch.Tensor, scores: torch.Tensor, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The score of each row's column, and the best of its others: ``(B,)`` each."""
    check_rows(rows, len(columns))
    own = table_on(columns, scores.device)[rows][:, None]  # (B, 1)
    check_columns(own, scores, others=1)
    return scores.gather(1, own)[:, 0], scores.scatter(1, own, -torch.inf).amax(dim=1)

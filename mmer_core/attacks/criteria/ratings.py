"""Criteria on valence, arousal and dominance, and how to judge only some columns of the scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from mmer_core.attacks.criteria.base import ComposableCriterion, Criterion, check_columns, check_rows
from mmer_core.errors import AttackError
from mmer_core.heavy import torch
from mmer_core.transfer import table_on

Direction = Literal["either", "up", "down"]


class RatingShift(ComposableCriterion):
    """One rating moves by ``tau`` or more from where it was.

    The margin is what of ``tau`` is still missing. For several dimensions compose with ``|`` and ``&``.

    Args:
        clean: ``(n,)`` the rating of each clean sample, on the scale of the scores.
        dimension: The column of the rating, from 0.
        tau: Least movement, above 0, on the same scale (EMOTIC's is 1 to 10).
        direction: ``"up"`` or ``"down"`` asks for a movement that way: the targeted form.

    Raises:
        AttackError: an argument is outside its range, or a clean rating is not finite.
    """

    def __init__(
        self,
        clean: Sequence[float] | np.ndarray,
        dimension: int,
        tau: float,
        direction: Direction = "either",
    ) -> None:
        ratings = np.asarray(clean, dtype=np.float64)
        if ratings.ndim != 1 or not np.isfinite(ratings).all():
            raise AttackError("the clean ratings of RatingShift are not one finite number a sample")
        if dimension < 0 or not 0 < tau < np.inf or direction not in get_args(Direction):
            raise AttackError(
                f"dimension is {dimension}, tau {tau} and direction {direction!r} in RatingShift; give a "
                f"column from 0, a number above 0, and one of {', '.join(get_args(Direction))}"
            )
        self.dimension, self.tau, self.direction = dimension, tau, direction
        self._clean = torch.from_numpy(ratings)

    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        check_rows(rows, len(self._clean))
        check_columns(torch.tensor([self.dimension]), scores, others=0)
        moved = scores[:, self.dimension] - table_on(self._clean, scores.device, scores.dtype)[rows]
        if self.direction == "either":
            moved = moved.abs()
        return self.tau - (-moved if self.direction == "down" else moved)

    def __repr__(self) -> str:
        return (
            f"RatingShift(clean=<{len(self._clean)} samples>, dimension={self.dimension}, "
            f"tau={self.tau!r}, direction={self.direction!r})"
        )


class Columns(ComposableCriterion):
    """Judges some columns only, so that criteria on categories and on ratings compose on one victim.

    Args:
        criterion: Reads columns ``start`` to ``stop - 1`` as if they were all there are.
        start: The first, from 0.
        stop: One behind the last, above ``start``.

    Raises:
        AttackError: there are no such columns.
    """

    def __init__(self, criterion: Criterion, start: int, stop: int) -> None:
        if not 0 <= start < stop:
            raise AttackError(f"columns {start} to {stop} are none; let start be from 0 and stop above it")
        self.criterion, self.start, self.stop = criterion, start, stop

    def _margin(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        check_columns(torch.tensor([self.stop - 1]), scores, others=0)
        return self.criterion.margin(scores[:, self.start : self.stop], rows)

    def __repr__(self) -> str:
        return f"Columns({self.criterion!r}, {self.start}, {self.stop})"

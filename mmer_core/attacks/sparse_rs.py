"""Sparse-RS: random search over sets of pixels, the strongest black-box L0 attack of its paper."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from mmer_core.attacks.attack import BlackBoxAttack, Generation, Search, Targets
from mmer_core.attacks.corners import OTHERS, corner_colours, corner_numbers, other_corners
from mmer_core.base_config import Config
from mmer_core.heavy import torch

_AHEAD = 64  # pixels that are drawn at a time, of as many queries as exchange them
_SPAN = 10_000  # queries that the published schedule was written for
_UNTIL = np.array([0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000])
_DIVISORS = np.array([1, 2, 4, 5, 6, 8, 10, 12, 15, 20])


class SparseRS(BlackBoxAttack):
    """Croce, Andriushchenko, Singh, Flammarion & Hein, *Sparse-RS: a Versatile Framework for
    Query-Efficient Sparse Black-Box Adversarial Attacks*, 2022.

    https://arxiv.org/abs/2006.12834, its attack on L0. It begins with ``K`` random pixels, each with a random
    corner of the colour cube. Every query takes a few of them back, puts as many new random pixels with
    random corners in their place, and keeps the exchange if the margin is lower. A corner that a pixel has already is
    drawn again, as the authors' program does: it would change nothing. What the margin means is the
    criterion's affair: ``DominantEmotionFlip`` is the paper's untargeted loss, ``DominantEmotionBecomes`` the
    margin of its targeted attack (which the paper searches by cross-entropy).

    The share of pixels exchanged at query ``i`` (the first is 0) is ``alpha / b``, at least one pixel, rounded
    down, with ``b`` piecewise constant: 2 for ``i`` in (0, 50], 4 up to 200, then 5 up to 500, 6 up to 1,000,
    8 up to 2,000, 10 up to 4,000, 12 up to 6,000, 15 up to 8,000, 20 beyond. That is for 10,000 queries; a
    smaller or larger budget runs through the same schedule in proportion. Where nearly all pixels may
    change, so that too few new ones are left, the rest of the exchange keeps its places and draws new colours.
    """

    name = "sparse-rs"
    title = "Sparse-RS"
    summary = "random search over sets of pixels (Croce et al. 2022)"

    class Options(Config):
        alpha: float = Field(
            0.3,
            gt=0,
            le=1,
            description="Share of the pixels exchanged to begin with; 0.3 in the paper, 0.1 for its targets.",
        )
        rescale: bool = Field(
            True, description="Stretch the schedule, written for 10,000 queries, to the budget."
        )

    options: Options

    def exchanged(self, query: int, pixels: int, budget: int) -> int:
        """How many of ``K`` pixels the query of that number, from 1, exchanges; 1 to ``K``."""
        place = query * _SPAN // budget if self.options.rescale else query
        divisor = _DIVISORS[np.searchsorted(_UNTIL, place)]
        return max(int(self.options.alpha / divisor * pixels), 1)

    def _search(self, targets: Targets) -> Search:
        return _RandomSearch(self, targets)


class _RandomSearch(Search):
    """The set in use, ``(n, K)`` numbers ``8 * place + corner``, its margin ``(n,)``, and the set that is tried.

    What is drawn depends on no margin, so it is drawn for many queries at a time.
    """

    of_images = ("_set", "_margin", "_tried", "_drawn")

    def __init__(self, attack: SparseRS, targets: Targets) -> None:
        super().__init__(targets)
        self._attack, self._query = attack, 0
        draws = targets.draws(0)
        places = draws.distinct(targets.pixels, targets.areas)[:, 0]
        self._set = self._tried = self._with_corners(
            places, self._clean_corners(places), draws.below(OTHERS, targets.pixels)[:, 0]
        )
        self._margin = targets.unknown()
        least = int(targets.areas.min()) - targets.pixels
        self._crowded = least < max(int(attack.options.alpha * targets.pixels), 1)
        self._first, self._drawn = 0, self._set.new_empty(len(targets), 0, 0, 3)

    def propose(self) -> Generation:
        if self._query:
            self._tried = self._exchanged()
        places, colours = self._tried >> 3, corner_colours(self._tried & 7)
        return Generation(places[:, None], colours[:, None], distinct=True)

    def learn(self, margins: torch.Tensor) -> None:
        better = margins[:, 0] < self._margin
        self._margin = torch.where(better, margins[:, 0], self._margin)
        self._set = torch.where(better[:, None], self._tried, self._set)
        self._query += 1

    def _exchanged(self) -> torch.Tensor:
        count = self._attack.exchanged(self._query, self.targets.pixels, self.targets.budget)
        number = self._query - self._first
        if number >= self._drawn.shape[1] or self._drawn.shape[2] != count:
            self._draw(count)
            number = 0
        chosen, entering, corner = self._drawn[:, number].unbind(2)  # (n, count) each
        leaving = self._set.gather(1, chosen)
        # The places outside of the set are numbered in order; each is as far on as there are places of the set before it.
        before = (self._set >> 3).sort(dim=1).values - torch.arange(self._set.shape[1], device=chosen.device)
        places = entering + torch.searchsorted(before, entering.contiguous(), right=True)
        if self._crowded:
            stays = entering >= (self.targets.areas - self.targets.pixels)[:, None]
            places = torch.where(stays, leaving >> 3, places)
        corners = self._clean_corners(places)
        if self._crowded:
            corners = torch.where(stays, leaving & 7, corners)
        return self._set.scatter(1, chosen, self._with_corners(places, corners, corner))

    def _draw(self, count: int) -> None:
        """What the queries from this one on draw: ``(n, queries, count, 3)``."""
        left = self.targets.budget - self._query
        draws = self.targets.draws(self._query, max(1, min(left, _AHEAD // count)))
        outside = self.targets.areas - self.targets.pixels
        self._first = self._query
        self._drawn = torch.stack(
            [
                draws.distinct(count, torch.full_like(outside, self.targets.pixels)),
                draws.distinct(count, outside.clamp(min=count)),
                draws.below(OTHERS, count),
            ],
            dim=3,
        )

    def _clean_corners(self, places: torch.Tensor) -> torch.Tensor:
        return corner_numbers(self.targets.colours(places))

    def _with_corners(self, places: torch.Tensor, before: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Places with corners that differ from those ``before``."""
        return other_corners(before, drawn).add(places, alpha=8)

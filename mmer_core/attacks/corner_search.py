"""Greedy corner search: rank one-pixel changes, then combine the best."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from mmer_core.attacks.attack import BlackBoxAttack, Generation, Search, Targets
from mmer_core.attacks.corners import CORNERS, corner_colours
from mmer_core.base_config import Config
from mmer_core.heavy import torch

_GENERATION = 64  # candidates drawn at a time


class CornerSearch(BlackBoxAttack):
    """Croce & Hein, *Sparse and Imperceivable Adversarial Attacks*, 2019: its L0 attack, CornerSearch.

    https://arxiv.org/abs/1909.05040. First, one pixel at a time is set to a corner of the colour cube, and
    these changes are ranked by their margin, one (the best) a place. Then ``K`` of the ``best`` changes are
    made together: at first the ``K`` highest, afterwards sets drawn at random, the ``i``-th of ``N`` with the
    paper's probability ``(2N - 2i + 1) / N^2``, no place twice.

    The paper ranks all ``8 * H * W`` changes whatever that costs, once for every class, and then tries 2, 3,
    ... K pixels. Here the ranking may cost a share of the budget, and takes a random subset of the changes
    if they are more; there is one ranking, by the criterion's margin; and only sets of ``K`` are tried. With
    ``K = 1`` there is nothing to combine, and the whole budget ranks.
    """

    name = "corner"
    title = "Corner search"
    summary = "the best single pixels combined (Croce & Hein 2019)"

    class Options(Config):
        ranking: float = Field(
            0.5, gt=0, lt=1, description="Share of the budget that tries pixels one by one; at least K."
        )
        best: int = Field(
            100, ge=1, description="How many of the best single changes are combined; at least K are."
        )

    options: Options

    def _search(self, targets: Targets) -> Search:
        return _Corners(self, targets)


class _Corners(Search):
    """Changes are numbered ``8 * place + corner``: first those to try alone ``(n, T)``, then the best of them, in order.

    ``_counts`` ``(n,)`` says how many of a row's changes there are.
    """

    of_images = ("_changes", "_singles", "_counts")

    def __init__(self, attack: CornerSearch, targets: Targets) -> None:
        super().__init__(targets)
        pixels, budget = targets.pixels, targets.budget
        singles = budget if pixels == 1 else min(max(int(attack.options.ranking * budget), pixels), budget)
        all_changes = len(CORNERS) * targets.areas
        self._best, self._query, self._ranked = max(attack.options.best, pixels), 0, False
        self._counts = all_changes.clamp(max=singles)
        # In random order, so that more than the fewest can be drawn for those that have more.
        self._changes = targets.draws(0).distinct(max(int(self._counts.max()), 1), all_changes)[:, 0]
        self._singles = targets.unknown(self._changes.shape[1])

    def propose(self) -> Generation | None:
        pixels, query = self.targets.pixels, self._query
        if not self._ranked and query < self._singles.shape[1]:
            part = self._changes[:, query : query + _GENERATION]
            self._query += part.shape[1]
            return self._generation(part[..., None].expand(-1, -1, pixels), self._counts - query)
        if pixels == 1:
            return None
        if not self._ranked:
            self._rank()
            first = torch.arange(pixels, device=self._counts.device).minimum(self._counts[:, None] - 1)
            return self._generation(self._changes.gather(1, first)[:, None], torch.ones_like(self._counts))
        if bool((self._counts <= pixels).all()):
            return None  # the one set that there is was tried
        sets = self._draw()
        self._query += _GENERATION
        # Where there is but one set, it was tried.
        return self._generation(sets, torch.where(self._counts > pixels, _GENERATION, 0))

    def learn(self, margins: torch.Tensor) -> None:
        if not self._ranked:
            self._singles[:, self._query - margins.shape[1] : self._query] = margins

    def _generation(self, changes: torch.Tensor, counts: torch.Tensor) -> Generation:
        """Of sets of changes ``(n, Q, K)``."""
        proposed = counts.clamp(0, changes.shape[1]).cpu().numpy()
        return Generation(changes >> 3, corner_colours(changes & 7), proposed)

    def _rank(self) -> None:
        """The best change of each place, lowest margin first, at most ``best`` of them."""
        self._ranked = True
        numbers = torch.arange(self._changes.shape[1], device=self._changes.device)
        margins = self._singles.masked_fill(numbers >= self._counts[:, None], torch.inf)
        ranking = margins.argsort(dim=1, stable=True)
        changes = self._changes.gather(1, ranking)
        by_place = (changes >> 3).argsort(dim=1, stable=True)
        places = (changes >> 3).gather(1, by_place)
        again = torch.zeros_like(places, dtype=torch.bool)
        again[:, 1:] = places[:, 1:] == places[:, :-1]
        again = torch.zeros_like(again).scatter(1, by_place, again) | (ranking >= self._counts[:, None])
        front = again.int().argsort(dim=1, stable=True)[:, : self._best]
        self._changes = changes.gather(1, front)
        self._counts = (~again).sum(dim=1).clamp(max=self._best)

    def _draw(self) -> torch.Tensor:
        """Sets ``(n, Q, K)`` by the paper's probabilities.

        A draw without replacement by weights is the order of exponential numbers, each divided by its weight (Efraimidis &
        Spirakis 2006).
        """
        count = self._changes.shape[1]
        ranks = torch.arange(1, count + 1, device=self._counts.device)
        weights = (2 * self._counts[:, None] - 2 * ranks + 1).clamp(min=0)[:, None]  # (n, 1, N)
        waits = -torch.log1p(-self.targets.draws(self._query, _GENERATION).unit(count)) / weights
        waits = waits.masked_fill(weights == 0, torch.inf)
        chosen = waits.argsort(dim=2, stable=True)[..., : self.targets.pixels]
        return self._changes[:, None].expand(-1, _GENERATION, -1).gather(2, chosen)


def rank_probabilities(count: int) -> np.ndarray:
    """``(N,)`` float64: how often the paper draws the ``i``-th of ``N`` ranked changes, ``(2N - 2i + 1) / N^2``."""
    return (2 * count - 2 * np.arange(1, count + 1) + 1) / count**2

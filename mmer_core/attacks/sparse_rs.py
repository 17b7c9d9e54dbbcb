"""Sparse-RS: random search over sets of pixels, the strongest black-box L0 attack of its paper."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from mmer_core.attacks.attack import BlackBoxAttack, Generation, Search, Targets
from mmer_core.attacks.candidates import Exchange
from mmer_core.attacks.corners import OTHERS, corner_colours, corner_numbers, other_corners
from mmer_core.attacks.counting import MANY
from mmer_core.base_config import Config
from mmer_core.heavy import torch
from mmer_core.transfer import to_device

_AT_ONCE = 64  # pixels that are drawn at a time, of as many queries as exchange them
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

    def exchanged(self, queries: np.ndarray, pixels: int, budget: int) -> np.ndarray:
        """How many of ``K`` pixels the queries of these numbers, from 1, exchange; 1 to ``K``."""
        places = queries * _SPAN // max(budget, 1) if self.options.rescale else queries
        divisors = _DIVISORS[np.searchsorted(_UNTIL, places)]
        return np.maximum((self.options.alpha / divisors * pixels).astype(np.int64), 1)

    def usual_exchange(self, pixels: int, budget: int) -> int | None:
        if not budget:
            return None
        usual = int(np.median(self.exchanged(np.arange(1, budget + 1), pixels, budget)))
        # Two pixels of the image change for one that is exchanged: it leaves, and another enters.
        return usual if 2 * usual < pixels else None

    def _search(self, targets: Targets) -> Search:
        return _RandomSearch(self, targets)


class _RandomSearch(Search):
    """The set in use, ``(n, K)`` numbers ``8 * place + corner``, its margin ``(n,)``, and the number of the next query ``(n,)``.

    What is drawn depends on no margin, so it is drawn for many queries at a time. Most exchanges are not kept: where there
    is room, ``Q`` of them are proposed at once, each for the case that those before it are not kept.
    """

    of_images = ("_set", "_margin", "_query", "_tried", "_asked", "_start", "_columns")

    def __init__(self, attack: SparseRS, targets: Targets) -> None:
        super().__init__(targets)
        draws = targets.draws(0)
        places = draws.distinct(targets.pixels, targets.areas)[:, 0]
        self._set = self._with_corners(
            places, self._clean_corners(places), draws.below(OTHERS, targets.pixels)[:, 0]
        )
        self._margin, self._query = targets.unknown(), torch.zeros_like(targets.keys)
        self._tried, self._asked = self._set[:, None], torch.ones_like(self._query)  # (n, Q, K), (n,)
        self._schedule = attack.exchanged(np.arange(targets.budget + 1), targets.pixels, targets.budget)
        self._usual = attack.usual_exchange(targets.pixels, targets.budget)
        # Which pixels of the set the last candidates change: those that it begins with, none.
        self._columns = torch.zeros(
            len(targets), 1, self._usual or 1, dtype=torch.int64, device=targets.device
        )
        self._crowded = int(targets.areas.min()) - targets.pixels < self._schedule.max()
        self._order = torch.arange(targets.pixels, device=targets.device)
        self._begun, self._drawn, self._start = False, 0, self._query

    def propose(self) -> Generation:
        counts, improving = None, None
        if self._begun:
            counts = self._counts()
            self._tried = self._exchanged(1 if counts is None else int(counts.max()))
            self._asked = torch.ones_like(self._query)
            if counts is not None:
                self._asked, improving = to_device(torch.from_numpy(counts), self._query.device), self._margin
        self._begun = True
        places, colours = self._tried >> 3, corner_colours(self._tried & 7)
        exchange = None if self._usual is None else self._exchange(self._usual)
        return Generation(places, colours, counts, distinct=True, improving=improving, exchange=exchange)

    def _exchange(self, usual: int) -> Exchange:
        """What was proposed last, against the set in use."""
        several = self._tried.shape[1]
        columns = self._columns.expand(-1, several, -1).flatten(0, 1)
        places, corners = (
            each[:, None].expand(-1, several, -1).flatten(0, 1) for each in (self._set >> 3, self._set & 7)
        )
        return Exchange(places, corner_colours(corners), columns, usual)

    def learn(self, margins: torch.Tensor) -> None:
        lowest, leader = margins.min(dim=1)
        better = lowest < self._margin
        pixels = self._set.shape[1]
        found = self._tried.gather(1, leader[:, None, None].expand(-1, 1, pixels))[:, 0]
        self._margin = torch.where(better, lowest, self._margin)
        self._set = torch.where(better[:, None], found, self._set)
        # An improvement is the last that counts.
        self._query = self._query + torch.where(better, leader + 1, self._asked)

    def _counts(self) -> np.ndarray | None:
        """How many queries are proposed of each image, as far as there is room; None: one."""
        each, more = divmod(self.room, len(self.targets))
        if self.room <= len(self.targets):
            return None
        counts = np.full(len(self.targets), each)
        counts[:more] += 1
        return counts

    def _exchanged(self, ahead: int) -> torch.Tensor:
        """``(n, Q, K)``: what the next ``Q`` queries make of the set in use, each by itself."""
        if self._drawn < ahead:
            self._draw(ahead)
        self._drawn -= ahead  # as if all of them counted
        at = (self._start + self._query)[:, None] + self._ahead[:ahead]
        chosen, entering, corner = (numbers[at] for numbers in self._numbers)  # (n, Q, count) each
        self._columns = chosen
        sets = self._set[:, None].expand(-1, ahead, -1)
        # The places outside of the set are numbered in order; each is as far on as there are places of the set before it.
        before = (self._set >> 3).sort(dim=1).values - self._order
        passed = torch.searchsorted(before, entering.flatten(1), right=True)
        places = entering + passed.view_as(entering)
        leaving = sets.gather(2, chosen)
        if self._crowded:
            outside = (self.targets.areas - self.targets.pixels)[:, None, None]
            stays = self._order[: entering.shape[2]] >= outside
            places = torch.where(stays, leaving >> 3, places)
        corners = self._clean_corners(places)
        if self._crowded:
            corners = torch.where(stays, leaving & 7, corners)
        entered = self._with_corners(places, corners, corner)
        if self._limits is not None:
            entered = torch.where(self._order[: entered.shape[2]] < self._limits[at], entered, leaving)
        return sets.scatter(2, chosen, entered)

    def _draw(self, ahead: int) -> None:
        """What each image's next queries draw, for as many pixels as the query of the lowest number exchanges."""
        first, last = (int(number) for number in self._query.aminmax())
        most = int(self._schedule[first])
        if self._schedule[0] > MANY:
            most = int(self._schedule[0])  # there the first numbers depend on how many are drawn
        window = max(ahead, min(self.targets.budget - first, _AT_ONCE // most))
        draws = self.targets.draws(self._query, window)
        outside = self.targets.areas - self.targets.pixels
        self._numbers = [
            drawn.flatten(0, 1)
            for drawn in (
                draws.distinct(most, torch.full_like(outside, self.targets.pixels)),
                draws.distinct(most, outside.clamp(min=1)),
                draws.below(OTHERS, most),
            )
        ]  # (n * window, count) each
        self._drawn, self._ahead = window, torch.arange(window, device=outside.device)
        self._start = torch.arange(len(outside), device=outside.device) * window - self._query
        self._limits = None
        exchanged = self._schedule[: last + window + 1]
        if exchanged[first] != exchanged[-1]:
            numbers = (self._query[:, None] + self._ahead).clamp(max=self.targets.budget)
            self._limits = to_device(torch.from_numpy(self._schedule), numbers.device)[numbers].view(-1, 1)

    def _clean_corners(self, places: torch.Tensor) -> torch.Tensor:
        return corner_numbers(self.targets.colours(places))

    def _with_corners(self, places: torch.Tensor, before: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Places with corners that differ from those ``before``."""
        return other_corners(before, drawn).add(places, alpha=8)

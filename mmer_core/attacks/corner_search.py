"""Greedy corner search: rank one-pixel changes, then combine the best."""

import numpy as np
from pydantic import Field

from mmer_core.attacks.attack import BlackBoxAttack, Search
from mmer_core.attacks.candidates import Candidates, from_flat
from mmer_core.attacks.corners import CORNERS
from mmer_core.base_config import Config

_GENERATION = 64  # candidates drawn at a time, fixed so that what is drawn does not depend on batch sizes


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

    def _search(self, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int) -> Search:
        return _Corners(self, image.shape[:2], pixels, rng, budget)


class _Corners(Search):
    """Changes are numbered ``8 * place + corner``; ``_margins`` are those of the ones tried alone."""

    def __init__(
        self, attack: CornerSearch, size: tuple[int, ...], pixels: int, rng: np.random.Generator, budget: int
    ) -> None:
        super().__init__(budget)
        self._width, self._pixels, self._rng = size[1], pixels, rng
        changes = len(CORNERS) * size[0] * size[1]
        singles = budget if pixels == 1 else max(int(attack.options.ranking * budget), pixels)
        self._tried = rng.choice(changes, min(singles, budget, changes), replace=False)
        self._singles: list[float] = []
        self._best = max(attack.options.best, pixels)
        self._ranked: np.ndarray | None = None

    def propose(self) -> Candidates | None:
        done = len(self._singles)
        if done < len(self._tried):
            return self._candidates(self._tried[done : done + _GENERATION, None])
        if self._pixels == 1:
            return None
        if self._ranked is None:
            self._ranked = self._rank()
            return self._candidates(self._ranked[None, : self._pixels])
        if len(self._ranked) <= self._pixels:
            return None  # the one set that there is was tried
        return self._candidates(np.stack([self._draw(self._ranked) for _ in range(_GENERATION)]))

    def learn(self, margins: np.ndarray) -> None:
        if self._ranked is None:
            self._singles.extend(margins.tolist())

    def _candidates(self, changes: np.ndarray) -> Candidates:
        place, corner = np.divmod(changes, len(CORNERS))  # (Q, k)
        return from_flat(place, CORNERS[corner], self._width, self._pixels)

    def _rank(self) -> np.ndarray:
        """The best change of each place, lowest margin first, at most ``best`` of them."""
        changes = self._tried[np.argsort(self._singles, kind="stable")]
        _, first = np.unique(changes // len(CORNERS), return_index=True)
        return changes[np.sort(first)[: self._best]]

    def _draw(self, ranked: np.ndarray) -> np.ndarray:
        return self._rng.choice(ranked, self._pixels, replace=False, p=rank_probabilities(len(ranked)))


def rank_probabilities(count: int) -> np.ndarray:
    """``(N,)`` float64: how often the paper draws the ``i``-th of ``N`` ranked changes, ``(2N - 2i + 1) / N^2``."""
    return (2 * count - 2 * np.arange(1, count + 1) + 1) / count**2

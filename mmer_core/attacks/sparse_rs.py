"""Sparse-RS: random search over sets of pixels, the strongest black-box L0 attack of its paper."""

import numpy as np
from pydantic import Field

from mmer_core.attacks.attack import BlackBoxAttack, Search
from mmer_core.attacks.candidates import Candidates, from_flat
from mmer_core.attacks.corners import draw_other_corners
from mmer_core.base_config import Config

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

    def _search(self, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int) -> Search:
        return _RandomSearch(self, image, pixels, rng, budget)


class _RandomSearch(Search):
    """The set in use, ``(K,)`` places with ``(K, 3)`` corners, and the ``(H * W - K,)`` places outside it."""

    def __init__(
        self, attack: SparseRS, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int
    ) -> None:
        super().__init__(budget)
        self._attack, self._clean, self._width, self._rng = attack, image.reshape(-1, 3), image.shape[1], rng
        places = rng.permutation(len(self._clean))
        self._inside, self._outside = places[:pixels], places[pixels:]
        self._colours = draw_other_corners(rng, self._clean[self._inside])
        self._margin = np.inf
        self._challenger = (self._inside, self._colours)
        self._leaving = self._entering = np.empty(0, dtype=np.int64)

    def propose(self) -> Candidates:
        if self.queries:
            self._exchange()
        inside, colours = self._challenger
        return from_flat(inside[None], colours[None], self._width)

    def learn(self, margins: np.ndarray) -> None:
        if margins[0] < self._margin:
            self._margin = float(margins[0])
            self._outside[self._entering] = self._inside[self._leaving]
            self._inside, self._colours = self._challenger

    def _exchange(self) -> None:
        count = self._attack.exchanged(self.queries, len(self._inside), self.budget)
        chosen = self._rng.choice(len(self._inside), count, replace=False)
        new = min(count, len(self._outside))
        self._leaving = chosen[:new]
        self._entering = self._rng.choice(len(self._outside), new, replace=False)
        inside, colours = self._inside.copy(), self._colours.copy()
        inside[self._leaving] = self._outside[self._entering]
        colours[self._leaving] = self._clean[inside[self._leaving]]
        colours[chosen] = draw_other_corners(self._rng, colours[chosen])
        self._challenger = (inside, colours)

"""Random search over pixels that the victim's own gradient picks: no black box, and named so."""

from typing import Any

import numpy as np
from pydantic import Field

from mmer_core.attacks.attack import GradientSearch, WhiteBoxAttack
from mmer_core.attacks.candidates import Candidates, from_flat
from mmer_core.attacks.corner_search import rank_probabilities
from mmer_core.attacks.corners import draw_corners
from mmer_core.attacks.sparse_rs import SparseRS
from mmer_core.attacks.victims import Gradients
from mmer_core.base_config import Config

_GENERATION = 8  # candidates judged between two looks at what was learnt


class GradientGuidedSparseRS(WhiteBoxAttack):
    """Sparse-RS (Croce et al. 2022, `SparseRS`) that exchanges pixels for some that are likely to help.

    Single pixels at random places, set to random corners of the colour cube, are estimated to first order at the image
    attacked so far: ``draws`` of them, in the time of a few queries. Only the ``best`` are tried. The first query makes
    the ``K`` best changes at once; the following exchange pixels as Sparse-RS does, by its schedule, but those that
    enter are drawn from the ``best``, the ``i``-th of ``N`` with the probability ``(2N - 2i + 1) / N^2`` of
    `CornerSearch`. Pixels are estimated anew whenever the margin was lowered, and after ``best`` queries in any case.
    With ``K = 1`` nothing is kept, and the ``best`` are tried in their order. Where the margin is flat at the clean
    image (a rating that may move either way), the first estimates are all alike, and the draw decides.

    Estimates decide what is asked, never what counts: every query is judged as those of other attacks are.
    """

    name = "screened"
    title = "GradientGuidedSparseRS (uses gradients)"
    summary = "random search over pixels that the model's gradient picks, so no black box"

    class Options(Config):
        draws: int = Field(1000, ge=1, description="Single pixels estimated at a time.")
        best: int = Field(32, ge=1, description="How many of those may be tried; at least K are.")
        alpha: float = Field(
            0.3, gt=0, le=1, description="Share of the pixels exchanged to begin with, as of sparse-rs."
        )

    options: Options

    def _search(
        self, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int, gradients: Gradients
    ) -> GradientSearch[Any]:
        return _Screening(self.options, image, pixels, rng, budget, gradients)


class _Screening(GradientSearch[GradientGuidedSparseRS.Options]):
    """The set in use, ``(K,)`` places with ``(K, 3)`` corners, and the changes that may enter it, best first."""

    def _begin(self) -> None:
        self._schedule = SparseRS(alpha=self._options.alpha)
        self._places, self._colours = np.empty(0, dtype=np.int64), np.empty((0, 3), dtype=np.uint8)
        self._margin = np.inf
        self._likely = (self._places, self._colours)
        self._tried = self._options.best  # queries since pixels were estimated
        self._drawn: list[tuple[np.ndarray, np.ndarray]] = []

    def propose(self) -> Candidates:
        if self._tried >= min(self._options.best, len(self._likely[0])):
            self._likely, self._tried = self._estimate(), 0
        if self._pixels == 1:
            part = slice(self._tried, self._tried + _GENERATION)
            self._drawn = list(zip(*(each[part, None] for each in self._likely), strict=True))
        elif not self._places.size:
            self._drawn = [tuple(each[: self._pixels] for each in self._likely)]  # type: ignore[list-item]
        else:
            self._drawn = [self._exchange() for _ in range(_GENERATION)]
        places, colours = (np.stack(part) for part in zip(*self._drawn, strict=True))
        self._tried += len(places)
        return from_flat(places, colours, self._pixels)

    def learn(self, margins: np.ndarray) -> None:
        best = int(margins.argmin())
        if self._pixels > 1 and margins[best] < self._margin:
            self._margin = float(margins[best])
            self._places, self._colours = self._drawn[best]
            self._tried = self._options.best  # what was estimated was so at another image

    def _estimate(self) -> tuple[np.ndarray, np.ndarray]:
        """The most promising places and corners, best first, no place twice."""
        image = self._image.copy()
        image.reshape(-1, 3)[self._places] = self._colours
        places = self._rng.integers(0, image.shape[0] * image.shape[1], self._options.draws)
        colours = draw_corners(self._rng, self._options.draws)
        margins = self._gradients.screen(image, from_flat(places[:, None], colours[:, None]))
        self.screened += len(margins)
        order = np.argsort(margins, kind="stable")
        _, first = np.unique(places[order], return_index=True)
        chosen = order[np.sort(first)[: max(self._options.best, self._pixels)]]
        return places[chosen], colours[chosen]

    def _exchange(self) -> tuple[np.ndarray, np.ndarray]:
        """The set with some pixels drawn for others; where a place comes twice, the later stands."""
        places, colours = self._likely
        exchanged = int(self._schedule.exchanged(np.array(self.queries), self._pixels, self.budget))
        count = min(exchanged, len(places))
        staying = self._rng.permutation(len(self._places))[count:]
        entering = self._rng.choice(len(places), count, replace=False, p=rank_probabilities(len(places)))
        return (
            np.concatenate([self._places[staying], places[entering]]),
            np.concatenate([self._colours[staying], colours[entering]]),
        )

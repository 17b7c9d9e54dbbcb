"""Pixle: pixels of the image itself, copied to other places of it."""

import numpy as np
from pydantic import Field

from mmer_core.attacks.attack import BlackBoxAttack, Search
from mmer_core.attacks.candidates import Candidates, from_flat
from mmer_core.base_config import Config

_GENERATION = 64  # candidates drawn at a time, fixed so that what is drawn does not depend on batch sizes


class Pixle(BlackBoxAttack):
    """Pomponi, Scardapane & Uncini, *Pixle: a fast and effective black-box attack based on rearranging pixels*,
    2022.

    https://arxiv.org/abs/2202.02236, with its random mapping. A query picks a random patch of the clean image
    and copies its pixels, one by one, to random places of the image as attacked so far. Queries of one stage
    (the paper's restart) start from the same image; at its end the best copy is kept, if it lowered the
    margin, and the next stage goes on from there.

    The paper does not bound the changed pixels. Here the ``K`` pixels are divided among the stages: each
    may use its equal share of those that are left, so a patch never has more pixels than that, and queries are
    divided equally too. There are no more stages than ``K`` or queries. The margin of the clean image is no query, so
    the first stage keeps its best copy in any case.
    """

    name = "pixle"
    title = "Pixle (copied pixels)"
    summary = "copies of the image's own pixels (Pomponi et al. 2022)"

    class Options(Config):
        stages: int = Field(
            5, ge=1, description="Stages that share budget and pixels; 20 restarts in the paper."
        )
        side: int = Field(10, ge=1, description="Longest side of a copied patch in pixels; 10 in the paper.")

    options: Options

    def _search(self, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int) -> Search:
        return _Rearrangement(self, image, pixels, rng, budget)


class _Rearrangement(Search):
    """What is kept so far, ``(k,)`` places and the places ``(k,)`` that their colours come from."""

    def __init__(
        self, attack: Pixle, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int
    ) -> None:
        super().__init__(budget)
        self._image, self._pixels, self._rng, self._side = image, pixels, rng, attack.options.side
        # A stage without a query could keep nothing.
        self._stages, self._stage = max(min(attack.options.stages, pixels, budget), 1), 0
        self._places = self._sources = np.empty(0, dtype=np.int64)
        self._kept = self._lowest = np.inf
        self._leader = (self._places, self._sources)
        self._drawn: list[tuple[np.ndarray, np.ndarray]] = []

    def propose(self) -> Candidates:
        left = self._end_of_stage() - self.queries
        share = (self._pixels - len(self._places)) // (self._stages - self._stage)
        self._drawn = [self._copy_patch(share) for _ in range(min(left, _GENERATION))]
        colours = self._image.reshape(-1, 3)
        width = self._image.shape[1]
        filled = [[_fill(part, self._pixels) for part in pair] for pair in self._drawn]
        places, sources = np.array(filled).transpose(1, 0, 2)  # (Q, K) each
        return from_flat(places, colours[sources], width)

    def learn(self, margins: np.ndarray) -> None:
        best = int(margins.argmin())
        if margins[best] < self._lowest:
            self._lowest, self._leader = float(margins[best]), self._drawn[best]
        if self.queries == self._end_of_stage():
            self._stage += 1
            if self._lowest < self._kept:
                self._kept = self._lowest
                self._places, self._sources = self._leader

    def _end_of_stage(self) -> int:
        """Queries when the stage ends."""
        return self.budget * (self._stage + 1) // self._stages

    def _copy_patch(self, share: int) -> tuple[np.ndarray, np.ndarray]:
        """Places and sources of what is kept, with a patch of at most ``share`` pixels copied on top."""
        height, width = self._image.shape[:2]
        tall = int(self._rng.integers(1, min(self._side, height, share) + 1))
        wide = int(self._rng.integers(1, min(self._side, width, share // tall) + 1))
        top, left = self._rng.integers(0, (height - tall + 1, width - wide + 1))
        sources = (np.arange(top, top + tall)[:, None] * width + np.arange(left, left + wide)).ravel()
        places = self._rng.choice(height * width, len(sources), replace=False)
        return np.concatenate([self._places, places]), np.concatenate([self._sources, sources])


def _fill(part: np.ndarray, pixels: int) -> np.ndarray:
    return np.pad(part, (0, pixels - len(part)), mode="edge")

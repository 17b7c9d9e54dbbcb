"""Searches driven by hand, without a victim: one image, so many candidates at a time."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from mmer_core.attacks import Attack, Candidates, DominantEmotionFlip, Search, Targets, WhiteBoxAttack
from mmer_core.attacks.attack import GradientSearches
from mmer_core.attacks.victims import Gradients
from support.attack_toys import FunctionVictim

IMAGE = np.zeros((6, 9, 3), np.uint8)
BRIGHTNESS = FunctionVictim(
    (6, 9),
    lambda image, row: [image[..., 0].sum(), image[..., 1].sum()],
    lambda image: np.stack([np.broadcast_to(np.eye(3)[channel], image.shape) for channel in (0, 1)]),
)
"""For attacks that look at more than their margins."""


def targets_of(images: Sequence[np.ndarray], budget: int, pixels: int, seeds: Sequence[int]) -> Targets:
    """Images whose streams are named by seeds."""
    streams = [(seed, "driven", pixels, "image") for seed in seeds]
    return Targets.of(images, range(len(images)), streams, None, pixels, budget)


def at_positions(positions: np.ndarray, colours: np.ndarray, width: int) -> Candidates:
    """Candidates of positions ``(B, K, 2)``, ``(y, x)``, and colours ``(B, K, 3)``."""
    places = positions[..., 0].astype(np.int64) * width + positions[..., 1]
    return Candidates(torch.from_numpy(places), torch.from_numpy(colours))


class Driven:
    """A search on one image with its books: it ends at the first success, or with the budget."""

    def __init__(self, search: Search, width: int, budget: int) -> None:
        self.search, self.width, self.budget = search, width, budget
        self.queries, self.succeeded, self.over = 0, False, not budget
        self.best: Candidates | None = None
        self.best_margin = np.inf
        self._left: Candidates | None = None
        self._margins: list[float] = []

    def ask(self, limit: int = 10**9) -> Candidates | None:
        """The next candidates of the generation, at most so many and never beyond the budget; None at the end."""
        if self.finished:
            return None
        if self._left is None:
            generation = self.search.propose()
            count = 0
            if generation is not None:
                count = generation.places.shape[1] if generation.counts is None else generation.counts[0]
            if generation is None or not count:
                self.over = True
                return None
            self._size = generation.places.shape[1]
            self._left = Candidates(generation.places[0, :count], generation.colours[0, :count])
        self._asked = self._left[: min(limit, self.budget - self.queries)]
        return self._asked

    @property
    def finished(self) -> bool:
        return self.over or self.queries >= self.budget

    def tell(self, margins: np.ndarray) -> None:
        """Give the margins of what was asked last."""
        assert self._left is not None
        assert len(margins) == len(self._asked)
        successes = np.flatnonzero(margins <= 0)
        counted = margins[: successes[0] + 1] if successes.size else margins
        if self.best is None or counted.min() < self.best_margin:
            leader = int(counted.argmin())
            self.best, self.best_margin = self._asked[leader : leader + 1], float(counted[leader])
        self.queries += len(counted)
        self._margins.extend(counted.tolist())
        self._left = self._left[len(margins) :]
        if successes.size:
            self.succeeded = self.over = True
        elif not len(self._left):
            margins_of_all = torch.full((1, self._size), torch.inf, dtype=torch.float64)
            margins_of_all[0, : len(self._margins)] = torch.tensor(self._margins, dtype=torch.float64)
            self.search.learn(margins_of_all)
            self._left, self._margins = None, []


def begin(attack: Attack, budget: int, pixels: int = 2, seed: int = 0, image: np.ndarray = IMAGE) -> Driven:
    targets = targets_of([image], budget, pixels, [seed])
    search = attack.start(BRIGHTNESS, DominantEmotionFlip([0]), targets)
    return Driven(search, image.shape[1], attack.paid(image.shape[:2], budget))


def begin_on(
    gradients: Gradients, attack: WhiteBoxAttack, budget: int, pixels: int, image: np.ndarray
) -> Driven:
    """The search on these gradients, with NumPy's random numbers of the seed 0."""
    rng, targets = np.random.default_rng(0), targets_of([image], budget, pixels, [0])
    search = GradientSearches(targets, lambda _: attack._search(image, pixels, rng, budget, gradients))
    return Driven(search, image.shape[1], budget)


def drive(search: Driven, limits: Iterator[int], margin: Callable[[np.ndarray], float]) -> np.ndarray:
    """Run a search to its end and return all that it asked, ``(Q, K, 5)``."""
    asked = []
    while (candidates := search.ask(next(limits))) is not None:
        drawn = five_tuples(candidates, search.width)
        asked.append(drawn)
        search.tell(np.array([margin(one) for one in drawn]))
    return np.concatenate(asked)


def five_tuples(candidates: Candidates, width: int) -> np.ndarray:
    """``(B, K, 5)`` int: y, x, red, green, blue."""
    return torch.cat([candidates.positions(width), candidates.colours.long()], dim=2).numpy()


def brightness(candidate: np.ndarray) -> float:
    """A margin of a candidate ``(K, 5)``: lower where its colours are brighter, never a success."""
    return 2000.0 - candidate[:, 2:].sum()

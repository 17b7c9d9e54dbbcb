"""The one-pixel attack: differential evolution over pixel positions and colours."""

from typing import Any, Literal

import numpy as np
from pydantic import Field

from mmer_core.attacks.attack import BlackBoxAttack, Search
from mmer_core.attacks.candidates import Candidates
from mmer_core.base_config import Config


class DifferentialEvolution(BlackBoxAttack):
    """Su, Vargas & Sakurai, *One Pixel Attack for Fooling Deep Neural Networks*, 2019.

    https://arxiv.org/abs/1710.08864. A candidate is ``K`` five-tuples (row, column, red, green, blue).
    Positions begin uniform, colours as N(128, 127) clipped to 0..255. Each child is
    ``x_r1 + F (x_r2 - x_r3)`` with no crossover, the three parents distinct from each other and from the
    member ``i`` that it competes with; it takes that member's place if its margin is lower. Children of a
    generation are made from the generation before, all at once.

    The paper does not say what becomes of a child that leaves the image or the colour range: here each value outside
    is clipped to the border, or drawn anew, uniform between the borders. Members stay real numbers and are rounded only to draw the pixels. The paper
    evolves 400 members for at most 100 generations, 40,400 queries with the first; small budgets pay for few
    generations of so many, so fewer members are the default.
    """

    name = "de"
    title = "Differential evolution"
    summary = "differential evolution (Su et al. 2019)"

    class Options(Config):
        population: int = Field(50, ge=4, description="Members of a generation; 400 in the paper.")
        weight: float = Field(
            0.5, gt=0, le=2, description="Weight F of the difference between two members; 0.5 in the paper."
        )
        generations: int | None = Field(
            None,
            ge=1,
            description="Most generations of children, 100 in the paper; by default what the budget pays.",
        )
        bounds: Literal["clip", "resample"] = Field(
            "clip", description="What becomes of a position or colour outside: clipped, or drawn anew."
        )

    options: Options

    def settled(self, size: tuple[int, ...], budget: int) -> dict[str, Any]:
        paid = max(0, -(-budget // self.options.population) - 1)
        return {"generations": self.options.generations or paid}

    def _search(self, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int) -> Search:
        return _Evolution(image.shape[:2], pixels, rng, budget, self.options)


class _Evolution(Search):
    """A population ``(P, K, 5)`` of (y, x, red, green, blue) as real numbers, and its margins ``(P,)``."""

    def __init__(
        self,
        size: tuple[int, ...],
        pixels: int,
        rng: np.random.Generator,
        budget: int,
        options: DifferentialEvolution.Options,
    ) -> None:
        super().__init__(budget)
        self._rng, self._options, population = rng, options, options.population
        # The first generation is no generation of children.
        self._left = budget if options.generations is None else options.generations + 1
        self._highest = np.array([size[0] - 1, size[1] - 1, 255, 255, 255], dtype=np.float64)
        positions = rng.integers(0, size[:2], size=(population, pixels, 2))
        colours = rng.normal(128, 127, size=(population, pixels, 3)).clip(0, 255)
        self._members = np.concatenate([positions, colours], axis=2)
        self._fitness = np.full(population, np.inf)
        self._children = self._members  # the first generation is the population itself

    def propose(self) -> Candidates | None:
        if not self._left:
            return None
        self._left -= 1
        drawn = np.rint(self._children)
        return Candidates(drawn[..., :2].astype(np.int32), drawn[..., 2:].astype(np.uint8))

    def learn(self, margins: np.ndarray) -> None:
        better = margins < self._fitness
        self._members = np.where(better[:, None, None], self._children, self._members)
        self._fitness = np.where(better, margins, self._fitness)
        self._children = self._mutate()

    def _mutate(self) -> np.ndarray:
        keys = self._rng.random((len(self._members), len(self._members)))
        np.fill_diagonal(keys, np.inf)
        # The three smallest keys of a row, in order: three random others, none of them twice.
        first, second, third = np.argpartition(keys, (0, 1, 2), axis=1)[:, :3].T
        step = self._options.weight * (self._members[second] - self._members[third])
        children = self._members[first] + step
        if self._options.bounds == "clip":
            return children.clip(0, self._highest)
        outside = (children < 0) | (children > self._highest)
        return np.where(outside, self._rng.uniform(0, self._highest, children.shape), children)

"""The one-pixel attack: differential evolution over pixel positions and colours."""

import numpy as np

from mmer_core.attacks.attack import Attack, Search
from mmer_core.attacks.candidates import Candidates
from mmer_core.errors import AttackError


class DifferentialEvolution(Attack):
    """Su, Vargas & Sakurai, *One Pixel Attack for Fooling Deep Neural Networks*, 2019.

    https://arxiv.org/abs/1710.08864. A candidate is ``K`` five-tuples (row, column, red, green, blue).
    Positions begin uniform, colours as N(128, 127) clipped to 0..255. Each child is
    ``x_r1 + F (x_r2 - x_r3)`` with no crossover, the three parents distinct from each other and from the
    member ``i`` that it competes with; it takes that member's place if its margin is lower. Children of a
    generation are made from the generation before, all at once.

    The paper does not say what becomes of a child that leaves the image or the colour range: here it is
    clipped to the border. Members stay real numbers and are rounded only to draw the pixels. The paper
    weighs by F = 0.5 and evolves 400 members for at most 100 generations, which ``original()`` does: 40,400
    queries with the first.

    Args:
        population: Members of a generation, at least 4.
        weight: ``F``, above 0 and at most 2.
        generations: Most generations of children, at least 1; None for as many as the budget pays.

    Raises:
        AttackError: a hyper-parameter is outside its range.
    """

    name = "de"

    def __init__(self, population: int = 400, weight: float = 0.5, generations: int | None = None) -> None:
        if population < 4:
            raise AttackError(f"population is {population}; differential evolution needs at least 4 members")
        if not 0 < weight <= 2:
            raise AttackError(f"weight (F) is {weight}; give a number above 0 and at most 2")
        if generations is not None and generations < 1:
            raise AttackError(f"generations is {generations}; give 1 or more, or None for no end")
        self.population = population
        self.weight = weight
        self.generations = generations

    @classmethod
    def original(cls) -> "DifferentialEvolution":
        """The attack with the parameters of the paper: 400 members, F = 0.5, 100 generations."""
        return cls(population=400, weight=0.5, generations=100)

    def _search(self, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int) -> Search:
        return _Evolution(image.shape[:2], pixels, rng, budget, self)


class _Evolution(Search):
    """A population ``(P, K, 5)`` of (y, x, red, green, blue) as real numbers, and its margins ``(P,)``."""

    def __init__(
        self,
        size: tuple[int, ...],
        pixels: int,
        rng: np.random.Generator,
        budget: int,
        attack: DifferentialEvolution,
    ) -> None:
        super().__init__(budget)
        self._rng, self._weight, population = rng, attack.weight, attack.population
        # The first generation is no generation of children.
        self._left = budget if attack.generations is None else attack.generations + 1
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
        step = self._weight * (self._members[second] - self._members[third])
        return (self._members[first] + step).clip(0, self._highest)

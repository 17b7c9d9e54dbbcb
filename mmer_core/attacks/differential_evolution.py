"""The one-pixel attack: differential evolution over pixel positions and colours."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mmer_core.attacks.attack import BlackBoxAttack, Generation, Search, Targets
from mmer_core.base_config import Config
from mmer_core.heavy import torch


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

    def _search(self, targets: Targets) -> Search:
        return _Evolution(targets, self.options)


class _Evolution(Search):
    """Populations ``(n, P, K, 5)`` of (y, x, red, green, blue) as float32, and their margins ``(n, P)``."""

    of_images = ("_members", "_children", "_fitness", "_highest")

    def __init__(self, targets: Targets, options: DifferentialEvolution.Options) -> None:
        super().__init__(targets)
        self._options, self._generation = options, 0
        brightest = torch.full_like(targets.heights, 255)
        sides = (targets.heights - 1, targets.widths - 1, brightest, brightest, brightest)
        self._highest = torch.stack(sides, dim=1)[:, None, None].float()  # (n, 1, 1, 5)
        draws = targets.draws(0, options.population)
        down, right = (
            draws.below(side[:, None, None], targets.pixels)[..., None]
            for side in (targets.heights, targets.widths)
        )
        # A normal number from a uniform one, by the inverse of its distribution.
        normal = 2**0.5 * (2 * draws.unit(3 * targets.pixels) - 1).erfinv()
        colours = (128 + 127 * normal).clamp(0, 255).unflatten(2, (-1, 3))
        self._children = self._members = torch.cat(
            [down, right, colours], dim=3
        )  # first the population itself
        self._fitness = targets.unknown(options.population)

    def propose(self) -> Generation | None:
        # The first generation is no generation of children.
        if self._options.generations is not None and self._generation > self._options.generations:
            return None
        drawn = self._children.round()
        places = drawn[..., 0].long() * self.targets.widths[:, None, None] + drawn[..., 1].long()
        return Generation(places, drawn[..., 2:].to(torch.uint8))

    def learn(self, margins: torch.Tensor) -> None:
        better = margins < self._fitness
        self._members = torch.where(better[..., None, None], self._children, self._members)
        self._fitness = torch.where(better, margins, self._fitness)
        self._generation += 1
        self._children = self._mutate()

    def _mutate(self) -> torch.Tensor:
        images, population, pixels, _ = self._members.shape
        draws = self.targets.draws(self._generation * population, population)
        # Three others, none of them twice: so many members further on.
        others = draws.distinct(3, torch.full_like(self.targets.heights, population - 1))
        members = torch.arange(population, device=others.device)[:, None]
        parents = ((members + 1 + others) % population).view(images, -1)  # (n, 3 P)
        of_image = torch.arange(images, device=others.device)[:, None]
        first, second, third = (
            self._members[of_image, parents].view(images, population, 3, pixels, 5).unbind(2)
        )
        children = first + self._options.weight * (second - third)
        if self._options.bounds == "clip":
            return children.clamp(min=0).minimum(self._highest)
        outside = (children < 0) | (children > self._highest)
        anew = draws.unit(5 * pixels).view_as(children) * self._highest
        return torch.where(outside, anew, children)

"""The shape of an attack: hyper-parameters in an object, one search for all images that are attacked together.

A search thinks in **generations**: it proposes one for each image, and learns once all of it is judged. What it draws
depends on the image and on the number of the query alone. So neither who shares its batches nor how large they are can
change what it does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from mmer_core.attacks.candidates import Candidates, Exchange
from mmer_core.attacks.counting import Draws, key_of
from mmer_core.attacks.criteria import Criterion
from mmer_core.attacks.victims import Gradients, Victim, WhiteBoxVictim
from mmer_core.base_config import Config
from mmer_core.errors import AttackError
from mmer_core.heavy import torch
from mmer_core.named import Named
from mmer_core.seeding import random_stream


def precision(device: torch.device) -> torch.dtype:
    """Of margins: double on the CPU, where criteria may compute in it."""
    return torch.float64 if device.type == "cpu" else torch.float32


@dataclass(frozen=True, eq=False)
class Targets:
    """The ``n`` images that a search attacks together; its tensors are on one device.

    Attributes:
        pixels: Most pixels to change (``K``).
        budget: Most queries of each image.
        rows: Their rows, to the victim and the criterion.
        images: ``n`` arrays ``(H, W, 3)`` uint8.
        streams: Seed, attack, ``K`` and sample of each, which name its random numbers.
        keys: ``(n,)`` int64, of the same.
        clean: ``(N, 3)`` uint8, all pixels of many images, one image after the other.
        starts: ``(n,)`` int64, where an image begins in ``clean``.
        heights: ``(n,)`` int64.
        widths: ``(n,)`` int64.
    """

    pixels: int
    budget: int
    rows: Sequence[int]
    images: Sequence[np.ndarray]
    streams: Sequence[tuple[int, str, int, str]]
    keys: torch.Tensor
    clean: torch.Tensor
    starts: torch.Tensor
    heights: torch.Tensor
    widths: torch.Tensor

    @staticmethod
    def of(
        images: np.ndarray | Sequence[np.ndarray],
        rows: Sequence[int],
        streams: Sequence[tuple[int, str, int, str]],
        clean: torch.Tensor | None,
        pixels: int,
        budget: int,
    ) -> Targets:
        """Those ``rows`` of all ``images``; ``clean`` ``(n, H, W, 3)`` has them on the device, where they are of one size."""
        chosen = [images[row] for row in rows]
        sizes = torch.tensor([image.shape[:2] for image in chosen]).view(-1, 2)
        areas = sizes.prod(dim=1)
        if clean is None:
            flat = torch.from_numpy(np.concatenate([image.reshape(-1, 3) for image in chosen]))
            starts = areas.cumsum(0) - areas
        else:
            flat, starts = clean.flatten(0, 2), torch.tensor(rows) * areas
        keys = torch.tensor([key_of(*stream) for stream in streams], dtype=torch.int64)
        where = flat.device
        return Targets(
            pixels,
            budget,
            list(rows),
            chosen,
            list(streams),
            keys.to(where),
            flat,
            starts.to(where),
            sizes[:, 0].to(where),
            sizes[:, 1].to(where),
        )

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def areas(self) -> torch.Tensor:
        """``(n,)`` int64, pixels of each image."""
        return self.heights * self.widths

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.keys.device

    def draws(self, first: int | torch.Tensor, count: int = 1) -> Draws:
        """The random numbers of ``count`` queries, from the number ``first`` on, one for all images or ``(n,)``."""
        return Draws(self.keys, first, count)

    def unknown(self, *shape: int) -> torch.Tensor:
        """``(n, *shape)`` margins that are above any: ``inf``, in double precision on the CPU."""
        return torch.full((len(self), *shape), torch.inf, dtype=precision(self.device), device=self.device)

    def colours(self, places: torch.Tensor) -> torch.Tensor:
        """``(n, ..., 3)`` uint8: the clean colours at ``places`` ``(n, ...)``."""
        return self.clean[places + self.starts.view(-1, *[1] * (places.ndim - 1))]

    def keep(self, those: torch.Tensor) -> Targets:
        """Some of them, by their numbers ``(m,)`` int64."""
        numbers = those.tolist()
        return replace(
            self,
            rows=[self.rows[number] for number in numbers],
            images=[self.images[number] for number in numbers],
            streams=[self.streams[number] for number in numbers],
            keys=self.keys[those],
            starts=self.starts[those],
            heights=self.heights[those],
            widths=self.widths[those],
        )


@dataclass(frozen=True, eq=False)
class Generation:
    """What a search proposes next: up to ``Q`` candidates for each of ``n`` images.

    Attributes:
        places: ``(n, Q, K)`` int64, pixels in reading order, ``y * width + x``.
        colours: ``(n, Q, K, 3)`` uint8.
        counts: ``(n,)``, how many of the ``Q`` are proposed for each image; none is the end of a search. ``Q`` where
            left out.
        distinct: Whether it is known that no pixels of a candidate coincide.
        improving: ``(n,)`` margins, where an image's candidates are proposed ahead: each for the case that none before it
            has a lower margin than this. What is behind the first that has does not count, and is no query.
        exchange: Of all ``n * Q`` candidates in order, where they are exchanges against a set in use.
    """

    places: torch.Tensor
    colours: torch.Tensor
    counts: np.ndarray | None = None
    distinct: bool = False
    improving: torch.Tensor | None = None
    exchange: Exchange | None = None


def generation_of(found: Sequence[Candidates | None], targets: Targets) -> Generation:
    """A generation of what was found for each image on its own, on the CPU; None is the end of its search."""
    counts = [0 if one is None else len(one) for one in found]
    places = torch.zeros(len(found), max(counts), targets.pixels, dtype=torch.int64)
    colours = torch.zeros(*places.shape, 3, dtype=torch.uint8)
    for number, one in enumerate(found):
        if one is not None:
            places[number, : len(one)], colours[number, : len(one)] = one.places, one.colours
    return Generation(places.to(targets.device), colours.to(targets.device), np.array(counts))


class Search(ABC):
    """The searches on ``n`` images, side by side: state with one row an image. Queries and successes are `run_attack`'s.

    A search on one image ends at its first success (unless it `goes_on`), when the budget is spent, or when the attack
    has nothing left to propose. Then its row is dropped.

    Attributes:
        of_images: Names of the attributes that have a row for each image, which `keep` selects.
        room: Candidates of all images together that the victim judges in as many passes as one of each image. A search that
            learns after every query may propose ahead as far as they go.
    """

    of_images: ClassVar[tuple[str, ...]] = ()
    room = 0

    def __init__(self, targets: Targets) -> None:
        self.targets = targets

    @abstractmethod
    def propose(self) -> Generation | None:
        """The next generation; None at the end of all ideas, for all images."""

    @abstractmethod
    def learn(self, margins: torch.Tensor) -> None:
        """Take in the margins ``(n, Q)`` of the generation proposed last, ``inf`` behind an image's count.

        A row with a success, 0 or less, is that of a search that goes on; what is behind it was not asked, and is ``inf``. So
        is what was proposed ahead of an improvement.
        """

    def goes_on(self, number: int, changed: int) -> bool:
        """Whether the search on image ``number`` looks for something better than its success, which changed so many pixels."""
        return False

    def screened(self, number: int) -> int:
        """Candidates for image ``number`` that were estimated and not judged; no queries."""
        return 0

    def keep(self, those: torch.Tensor) -> None:
        """Drop all other images; ``those`` are numbers ``(m,)`` int64, rising."""
        self.targets = self.targets.keep(those)
        for name in self.of_images:
            kept = getattr(self, name)
            few = (
                kept[those] if isinstance(kept, torch.Tensor) else [kept[number] for number in those.tolist()]
            )
            setattr(self, name, few)


Chosen = TypeVar("Chosen", bound=Config)


class GradientSearch(ABC, Generic[Chosen]):
    """The search of a white-box attack on one image, with its options; the other arguments are those of `WhiteBoxAttack._search`.

    Attributes:
        queries: Candidates judged so far.
        succeeded: Whether one of them was a success.
        screened: Candidates that were estimated and not judged.
    """

    def __init__(
        self,
        options: Chosen,
        image: np.ndarray,
        pixels: int,
        rng: np.random.Generator,
        budget: int,
        gradients: Gradients,
    ) -> None:
        self._options, self._image, self._pixels = options, image, pixels
        self._rng, self._gradients = rng, gradients
        self.budget, self.queries, self.screened, self.succeeded = budget, 0, 0, False
        self._begin()

    @abstractmethod
    def _begin(self) -> None:
        """Set up what the search remembers."""

    @abstractmethod
    def propose(self) -> Candidates | None:
        """The next generation; None at the end of all ideas."""

    @abstractmethod
    def learn(self, margins: np.ndarray) -> None:
        """Take in the margins ``(Q,)`` float64 of the whole generation proposed last; none is a success."""

    def goes_on(self, changed: int) -> bool:
        """Whether to look for something better than a success that changed so many pixels, with a new generation."""
        return False


class GradientSearches(Search):
    """White-box searches side by side: gradients are of one image at a time, so each has a state of its own."""

    of_images = ("_searches", "_counts")

    def __init__(self, targets: Targets, start: Callable[[int], GradientSearch[Any]]) -> None:
        super().__init__(targets)
        self._searches = [start(number) for number in range(len(targets))]
        self._counts = [0] * len(targets)

    def propose(self) -> Generation:
        found = [search.propose() for search in self._searches]
        self._counts = [0 if one is None else len(one) for one in found]
        return generation_of(found, self.targets)

    def learn(self, margins: torch.Tensor) -> None:
        for search, count, found in zip(self._searches, self._counts, margins.cpu().numpy(), strict=True):
            if (found <= 0).any():
                search.queries += int((found <= 0).argmax()) + 1
            else:
                search.queries += count
                search.learn(found[:count].astype(np.float64))

    def goes_on(self, number: int, changed: int) -> bool:
        self._searches[number].succeeded = True
        return self._searches[number].goes_on(changed)

    def screened(self, number: int) -> int:
        return self._searches[number].screened


class Attack(Named, ABC):
    """Base of both kinds of attack; a concrete one declares itself as `Named` says and writes ``_search``.

    Attributes:
        title: Its name on the pages of a report.
    """

    refusal = AttackError
    title: ClassVar[str]

    def repeats(self, pixels: int, again: bool) -> bool:
        """Whether a run with ``K`` can say no more than the others of a study, ``again`` with another seed than the first."""
        return False

    def usual_exchange(self, pixels: int, budget: int) -> int | None:
        """How many of the ``K`` pixels of a set in use most candidates change; None where candidates are no `Exchange`."""
        return None

    def settled(self, size: tuple[int, ...], budget: int) -> dict[str, Any]:
        """Options that are left open, as they are for an ``(H, W)`` image and a budget."""
        return {}

    @property
    def exact(self) -> bool:
        """Whether it fools every image that one pixel in a corner colour can fool."""
        return False

    def paid(self, size: tuple[int, ...], budget: int) -> int:
        """Most queries of an ``(H, W)`` image in a run with this budget."""
        return budget

    @abstractmethod
    def start(self, victim: Victim, criterion: Criterion, targets: Targets) -> Search:
        """Begin the searches on some samples of a victim.

        Raises:
            AttackError: the victim gives less than the attack needs.
        """


class BlackBoxAttack(Attack):
    """An attack that learns from margins alone."""

    def start(self, victim: Victim, criterion: Criterion, targets: Targets) -> Search:
        return self._search(targets)

    @abstractmethod
    def _search(self, targets: Targets) -> Search:
        """The searches themselves."""


class WhiteBoxAttack(Attack):
    """An attack that uses the victim's gradients as well."""

    def start(self, victim: Victim, criterion: Criterion, targets: Targets) -> Search:
        if not isinstance(victim, WhiteBoxVictim):
            raise AttackError(
                f"the attack {self.name!r} needs gradients, which this victim ({type(victim).__name__}) does not give; "
                "choose sparse-rs, which needs scores only, or give the victim an evaluator"
            )

        def begin(number: int) -> GradientSearch[Any]:
            rng = random_stream(*targets.streams[number])
            gradients = victim.gradients(criterion, targets.rows[number])
            return self._search(targets.images[number], targets.pixels, rng, targets.budget, gradients)

        return GradientSearches(targets, begin)

    @abstractmethod
    def _search(
        self, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int, gradients: Gradients
    ) -> GradientSearch[Any]:
        """The search on one image.

        Args:
            image: ``(H, W, 3)`` uint8, the clean image.
            pixels: Most pixels to change (``K``).
            rng: The only source of randomness of this search.
            budget: Most queries.
            gradients: The victim's, of this sample.
        """


def check_image(image: np.ndarray) -> None:
    """Refuse what is no uint8 RGB image ``(H, W, 3)`` (AttackError)."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise AttackError(f"the image to attack is {image.dtype} {image.shape}; give uint8 (H, W, 3)")


def check_request(size: tuple[int, ...], pixels: int, budget: int) -> None:
    """Refuse a ``K`` outside 1..H*W of an image of ``size`` ``(H, W)``, and a negative budget (AttackError)."""
    if not isinstance(pixels, Integral) or not 1 <= pixels <= size[0] * size[1]:
        raise AttackError(
            f"pixels (K) is {pixels} for an image of {size[0]} x {size[1]}; give 1 to {size[0] * size[1]}"
        )
    if budget < 0:
        raise AttackError(f"the budget is {budget} queries; give 0 or more")

"""The shape of an attack: hyper-parameters in an object, one search for each image.

A search is driven from outside by ``ask`` and ``tell``, so the engine is free to pool the candidates of
many images. Inside, it thinks in **generations**: it proposes one, and learns once all of it is judged.
How many candidates are asked for at a time can therefore not change what a search does.
"""

from abc import ABC, abstractmethod
from numbers import Integral
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from mmer_core.attacks.candidates import Candidates
from mmer_core.attacks.criteria import Criterion
from mmer_core.attacks.victims import Gradients, Victim, WhiteBoxVictim
from mmer_core.base_config import Config
from mmer_core.errors import AttackError
from mmer_core.named import Named


class Search(ABC):
    """The search on one image: books of queries and of the best candidate, kept once for every attack.

    It ends at the first success (unless it `goes_on`), when the budget is spent, or when the attack has nothing left to
    propose.

    Attributes:
        budget: Most queries.
        queries: Candidates judged so far, in the order of the search. Candidates behind the first success
            do not count, even if they were in the same batch: a larger batch does not cost more queries.
        best: The candidate with the lowest margin so far (one candidate), None before the first; once there is a
            success, the last of them.
        best_margin: Its margin, ``inf`` before the first.
        succeeded: Whether a candidate had a margin of 0 or less.
        screened: Candidates that were estimated and not judged; no queries.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.queries = 0
        self.screened = 0
        self.best: Candidates | None = None
        self.best_margin = np.inf
        self.succeeded = False
        self._generation: Candidates | None = None
        self._margins: list[float] = []
        self._asked: Candidates | None = None
        self._over = False

    @property
    def finished(self) -> bool:
        """Whether it succeeded for good, spent its budget, or has nothing left to propose."""
        return self._over or self.queries >= self.budget

    @abstractmethod
    def propose(self) -> Candidates | None:
        """The next generation, each candidate of ``K`` pixels; None, or an empty one, at the end of all ideas."""

    @abstractmethod
    def learn(self, margins: np.ndarray) -> None:
        """Take in the margins ``(Q,)`` float64 of the whole generation proposed last; none is a success."""

    def goes_on(self, success: Candidates) -> bool:
        """Whether to look for something better than this success (one candidate), with a new generation."""
        return False

    def ask(self, limit: int) -> Candidates | None:
        """The next candidates to judge, at most ``limit`` and never beyond the budget; None at the end.

        Raises:
            AttackError: ``limit`` is below 1, or the margins of the last candidates were not given yet.
        """
        if limit < 1:
            raise AttackError(f"a search was asked for {limit} candidates; ask for 1 or more")
        if self._asked is not None:
            raise AttackError("a search was asked twice; give it the margins of the first candidates before")
        if self.finished:
            return None
        if self._generation is None:
            self._generation, self._margins = self.propose(), []
            if not self._generation:
                self._over = True
                return None
        judged = len(self._margins)
        self._asked = self._generation[judged : judged + min(limit, self.budget - self.queries)]
        return self._asked

    def tell(self, margins: np.ndarray) -> None:
        """Give the margins ``(Q,)`` of the candidates asked last.

        Raises:
            AttackError: nothing was asked, there are more or fewer margins, or one of them is NaN.
        """
        if self._asked is None or self._generation is None:
            raise AttackError("a search was given margins before it proposed candidates; ask first")
        if margins.shape != (len(self._asked),) or np.isnan(margins).any():
            raise AttackError(
                f"a search needs {len(self._asked)} margins without NaN and was given {margins}"
            )
        successes = np.flatnonzero(margins <= 0)
        counted = margins[: successes[0] + 1] if successes.size else margins
        leader = int(counted.argmin())
        best = self._asked[leader : leader + 1]
        if successes.size or (
            not self.succeeded and (self.best is None or counted[leader] < self.best_margin)
        ):
            self.best, self.best_margin = best, float(counted[leader])
        self.queries += len(counted)
        self._asked = None
        self._margins.extend(counted.tolist())
        if successes.size:
            self.succeeded, self._generation = True, None
            self._over = not self.goes_on(best)
        elif len(self._margins) == len(self._generation):
            self.learn(np.array(self._margins))
            self._generation = None


Chosen = TypeVar("Chosen", bound=Config)


class GradientSearch(Search, Generic[Chosen]):
    """The search of a white-box attack with its options; the other arguments are those of `WhiteBoxAttack.start`."""

    def __init__(
        self,
        options: Chosen,
        image: np.ndarray,
        pixels: int,
        rng: np.random.Generator,
        budget: int,
        gradients: Gradients,
    ) -> None:
        super().__init__(budget)
        self._options, self._image, self._pixels = options, image, pixels
        self._rng, self._gradients = rng, gradients
        self._begin()

    @abstractmethod
    def _begin(self) -> None:
        """Set up what the search remembers."""


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

    def settled(self, size: tuple[int, ...], budget: int) -> dict[str, Any]:
        """Options that are left open, as they are for an ``(H, W)`` image and a budget."""
        return {}

    @property
    def exact(self) -> bool:
        """Whether it fools every image that one pixel in a corner colour can fool."""
        return False

    @abstractmethod
    def start_on(
        self,
        victim: Victim,
        criterion: Criterion,
        row: int,
        image: np.ndarray,
        pixels: int,
        rng: np.random.Generator,
        budget: int,
    ) -> Search:
        """Begin the search on the sample ``row`` of a victim; the other arguments as of `BlackBoxAttack.start`.

        Raises:
            AttackError: an argument is outside its range, or the victim gives less than the attack needs.
        """


class BlackBoxAttack(Attack):
    """An attack that learns from margins alone."""

    def start_on(
        self,
        victim: Victim,
        criterion: Criterion,
        row: int,
        image: np.ndarray,
        pixels: int,
        rng: np.random.Generator,
        budget: int,
    ) -> Search:
        return self.start(image, pixels, rng, budget)

    def start(self, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int) -> Search:
        """Begin a search.

        Args:
            image: ``(H, W, 3)`` uint8, the clean image.
            pixels: Most pixels to change (``K``), from 1 to ``H * W``.
            rng: The only source of randomness of this search.
            budget: Most queries; with 0 the search is over before it begins.

        Raises:
            AttackError: an argument is outside its range, or the image is not uint8 RGB.
        """
        check_image(image)
        check_request(image.shape[:2], pixels, budget)
        return self._search(image, pixels, rng, budget)

    @abstractmethod
    def _search(self, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int) -> Search:
        """The search itself; the arguments are checked."""


class WhiteBoxAttack(Attack):
    """An attack that uses the victim's gradients as well."""

    def start_on(
        self,
        victim: Victim,
        criterion: Criterion,
        row: int,
        image: np.ndarray,
        pixels: int,
        rng: np.random.Generator,
        budget: int,
    ) -> Search:
        if not isinstance(victim, WhiteBoxVictim):
            raise AttackError(
                f"the attack {self.name!r} needs gradients, which this victim ({type(victim).__name__}) does not give; "
                "choose sparse-rs, which needs scores only, or give the victim an evaluator"
            )
        return self.start(image, pixels, rng, budget, victim.gradients(criterion, row))

    def start(
        self, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int, gradients: Gradients
    ) -> Search:
        """Begin a search, as `BlackBoxAttack.start`; ``gradients`` are the victim's, of this sample."""
        check_image(image)
        check_request(image.shape[:2], pixels, budget)
        return self._search(image, pixels, rng, budget, gradients)

    @abstractmethod
    def _search(
        self, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int, gradients: Gradients
    ) -> Search:
        """The search itself; the arguments are checked."""


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

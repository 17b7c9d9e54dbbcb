"""One run that is harmed, the run after it, and whether what they left is what it should be."""

import random
import time
import traceback
from dataclasses import dataclass

from tools.chaos.arena import Arena, Outcome, Place, finish
from tools.chaos.faults import Fault, NotPossibleHere


@dataclass(frozen=True)
class Trial:
    """What happened.

    Attributes:
        fault: Its name.
        harm: When and where it struck.
        met: What the run did that it struck.
        again: Whether the next run succeeded.
        problems: Differences from the undisturbed run, damage, left-overs; none when all is well.
    """

    number: int | str
    fault: str
    harm: str
    met: str
    again: bool
    problems: tuple[str, ...]
    seconds: float

    @property
    def identical(self) -> bool:
        return self.again and not self.problems

    @property
    def kind(self) -> str:
        """The way a run met the fault, in a word or two."""
        return "said so in one error" if self.met.startswith("said: ") else self.met.partition(",")[0]

    @property
    def line(self) -> str:
        what = "identical" if self.identical else "; ".join(self.problems)
        return f"{self.number:3} {self.seconds:5.1f} s  {self.fault} {self.harm}: {self.met}  -> {what}"


def run_trial(arena: Arena, number: int | str, name: str, fault: Fault, seed: str) -> Trial:
    """Harm a run, run the same again, and look at what is there."""
    start = time.monotonic()
    harm, met, again, problems = "", "", False, []
    try:
        harmed = fault(arena, f"run-{number}", random.Random(seed))
        harm, met = harmed.what, harmed.met
        finish(harmed.place.start("--workers", "2"), harmed.place)
        again = True
        problems = _problems(arena, harmed.place)
    except NotPossibleHere:
        raise
    except Exception as error:
        problems = [f"{type(error).__name__}: {error}"]
        traceback.print_exc()
    return Trial(number, name, harm, met, again, tuple(problems), time.monotonic() - start)


def _problems(arena: Arena, place: Place) -> list[str]:
    store = place.open()
    damaged = [problem for key in store.keys() for problem in store.verify(key)]
    differing = [f"{what} differs" for what in Outcome.of(store).differences(arena.calm_of(place))]
    left = [f"left behind: {path.name}" for path in place.work.iterdir() if path.name != "fetched"]
    return [*damaged, *differing, *left]

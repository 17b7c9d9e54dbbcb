"""The shape of an attack on training data, and of a control: it plans which rows change, and how."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmer_core.errors import PoisonError
from mmer_core.named import Named
from mmer_core.poisoning.plans import Mode, PoisonPlan


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """What a plan is made from.

    Attributes:
        target: What the poisons should make a model see: an emotion, or a word of captions.
        carriers: ``(N,)`` bool, the samples that have it.
        labels: ``(N, C)`` 0/1; no column where the target is a word.
        column: Of the target among the labels; None where it is a word.
        texts: Each sample's texts.
    """

    target: str
    carriers: npt.NDArray[np.bool_]
    labels: npt.ArrayLike
    column: int | None
    texts: tuple[tuple[str, ...], ...]


class Poison(Named, ABC):
    """Base of attacks and controls; a concrete one declares itself as `Named` says and writes ``plan``."""

    refusal = PoisonError

    @abstractmethod
    def plan(self, train: TrainingSet, count: int, mode: Mode, seed: int) -> PoisonPlan:
        """Which ``count`` rows are poisoned, and how.

        Raises:
            PoisonError: Fewer samples can be poisoned than are asked for.
        """


class PoisonAttack(Poison):
    """Should make a model see the target where it is not."""


class PoisonControl(Poison):
    """What it reaches, no attack may claim as its own."""

"""The shape of a detector: embeddings of the training samples in, a score of each out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mmer_core.errors import PoisonError
from mmer_core.named import Named
from mmer_core.poisoning.detectors.checks import Flags, Floats
from mmer_core.poisoning.detectors.judging import flag_at

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Inspected:
    """A training set as a detector sees it, by the embeddings of the poisoned model.

    Attributes:
        images: ``(N, D)``.
        labels: ``(N,)`` 0/1: which samples carry the target.
        texts: ``(N, D_text)``, the mean of a sample's texts; None where the model reads none.
        captioned: Whether samples have captions instead of labels.
        poisons: How many poisons an experiment has at most.
    """

    images: Rows
    labels: npt.NDArray[np.int64]
    texts: Rows | None
    captioned: bool
    poisons: int


class Detector(Named, ABC):
    """A concrete one declares itself as `Named` says and writes ``scores``.

    Attributes:
        compares: It compares images with texts, so it needs a model with a space that both share.
        by_label: Its scores are comparable within a label only.
    """

    refusal = PoisonError
    compares: ClassVar[bool] = False
    by_label: ClassVar[bool] = False

    def settled(self, poisons: int) -> dict[str, Any]:
        """Options that are left open, as they are where it is to find so many poisons."""
        return {}

    @abstractmethod
    def scores(self, inspected: Inspected) -> Floats:
        """``(N,)``, higher is more suspicious."""

    def flags(self, scores: Floats, inspected: Inspected, share: float) -> Flags:
        """``(N,)``: what to leave out by the rule of the paper, or at most that share of all where it has none."""
        return flag_at(scores, share)

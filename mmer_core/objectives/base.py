"""The kinds of training objective, by what they compare; each object is an ``nn.Module``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

from mmer_core.errors import ConfigError
from mmer_core.heavy import Tensor, nn
from mmer_core.named import Named

if TYPE_CHECKING:
    from torch.nn import Module
else:
    Module = object


class Objective(Named, ABC, Module):
    """Base of all; a concrete one declares itself as `Named` says. Hand its parameters to the optimiser, too.

    A class becomes one of ``nn.Module`` when its first object is made: its options are read without PyTorch.
    """

    refusal = ConfigError

    def __new__(cls, **options: Any) -> Self:
        return super().__new__(_module_of(cls))

    def mass(self, targets: Tensor) -> Tensor:
        """By what the loss of a batch with such targets weighs where batches are averaged: how many it is the mean over."""
        return targets.new_tensor(len(targets))


@cache
def _module_of(kind: Any) -> Any:
    if issubclass(kind, nn.Module):
        return kind
    return type(kind.__name__, (kind, nn.Module), {"__module__": kind.__module__, "__doc__": kind.__doc__})


class CategoryObjective(Objective):
    """Compares logits with categories."""

    def fit(self, labels: Tensor) -> None:
        """Take what it needs from the training split's labels ``(N, C)`` 0/1; most need nothing."""

    @abstractmethod
    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of ``logits (B, C)`` against 0/1 ``targets (B, C)``; a scalar."""


class ClassObjective(Objective):
    """Compares logits with the one category that each sample has."""

    def fit(self, labels: Tensor) -> None:
        """Take what it needs from the training split's one-hot labels ``(N, C)``."""

    @abstractmethod
    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of ``logits (B, C)`` against one-hot ``targets (B, C)``; a scalar."""


class ContinuousObjective(Objective):
    """Compares predictions with ratings."""

    @abstractmethod
    def forward(self, predictions: Tensor, ratings: Tensor) -> Tensor:
        """Loss of ``predictions (B, V)`` against ``ratings (B, V)``; a scalar."""


class ContrastiveObjective(Objective):
    """Compares images with texts.

    Attributes:
        grouped: Whether it takes each image once with all its texts, as captioned datasets have them, instead of pairs.
    """

    grouped: ClassVar[bool] = False

    @abstractmethod
    def forward(self, image: Tensor, text: Tensor, image_id: Tensor, scale: Tensor) -> Tensor:
        """Loss of unit rows ``image (B, D)`` and ``text (P, D)``; a scalar.

        Args:
            image_id: ``(P,)`` int64. Of pairs (``P = B``), equal ids mark rows of the same image; grouped, it is
                each text's row of ``image``.
            scale: Scalar, the inverse temperature (exp of the learned logarithm).
        """

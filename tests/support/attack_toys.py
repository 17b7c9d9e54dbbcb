"""Victims small enough to know everything about, in float64 so that no batch size changes a score."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mmer_core.attacks import (
    Attack,
    Candidates,
    ClassifierVictim,
    Criterion,
    DominantEmotionFlip,
    Outcome,
    apply,
    run_attack,
)


class FunctionVictim:
    """Scores are a function of one image ``(H, W, 3)`` float64 and its row; counts what it was asked.

    ``slopes(image)``, ``(S, H, W, 3)``, is their gradient; without it, differences to a value one level higher.
    """

    def __init__(
        self,
        size: tuple[int, int],
        score: Callable[[np.ndarray, int], list[float]],
        slopes: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self.size = size
        self._score, self._slopes = score, slopes
        self.asked: dict[int, int] = {}
        self.batches: list[int] = []

    def scores(self, images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        assert images.dtype == torch.uint8
        assert rows.dtype == torch.int64
        self.batches.append(len(images))
        for row in rows.tolist():
            self.asked[row] = self.asked.get(row, 0) + 1
        values = [
            self._score(image.astype(np.float64), row)
            for image, row in zip(images.numpy(), rows.tolist(), strict=True)
        ]
        return torch.tensor(values, dtype=torch.float64)

    def gradients(self, criterion: Criterion, row: int) -> "ToyGradients":
        return ToyGradients(lambda image: self._score(image, row), self._slopes, criterion, row)


@dataclass
class ToyGradients:
    """Estimates that are right, and gradients."""

    score: Callable[[np.ndarray], list[float]]
    slopes: Callable[[np.ndarray], np.ndarray] | None
    criterion: Criterion
    row: int

    def screen(self, image: np.ndarray, candidates: Candidates) -> np.ndarray:
        attacked = apply(np.repeat(image[None], len(candidates), axis=0), candidates)
        scores = [self.score(one.astype(np.float64)) for one in attacked]
        rows = torch.full((len(candidates),), self.row)
        return self.criterion.margin(torch.tensor(scores, dtype=torch.float64), rows).numpy()

    def margin(self, image: np.ndarray) -> tuple[float, np.ndarray]:
        assert image.dtype == np.float32
        image = image.astype(np.float64)
        scores = torch.tensor([self.score(image)], dtype=torch.float64, requires_grad=True)
        margin = self.criterion.margin(scores, torch.tensor([self.row]))
        (by_score,) = torch.autograd.grad(margin.sum(), scores)
        slopes = self.slopes(image) if self.slopes else self._differences(image)
        return margin.item(), np.tensordot(by_score[0].numpy(), slopes, 1).astype(np.float32)

    def _differences(self, image: np.ndarray) -> np.ndarray:
        steps = np.eye(image.size).reshape(-1, *image.shape)
        higher = np.array([self.score(image + step) for step in steps])  # (H * W * 3, S)
        return (higher - self.score(image)).T.reshape(-1, *image.shape)


def linear_victim(weights: np.ndarray, thresholds: list[float]) -> FunctionVictim:
    """Two scores: the row's threshold, and ``sum(weights * image) / 255``; the second must overtake."""
    return FunctionVictim(
        (weights.shape[0], weights.shape[1]),
        lambda image, row: [thresholds[row], float((weights * image).sum() / 255)],
        lambda image: np.stack([np.zeros_like(weights), weights / 255]),
    )


def small_network(side: int) -> ClassifierVictim:
    """A convolutional network of six classes on images of ``side x side``."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 6),
    )  # fmt: skip
    return ClassifierVictim(network, (0.5,) * 3, (0.25,) * 3, (side, side), runtime="torch")


def attacked_network(attack: Attack, pixels: int, budget: int) -> list[Outcome]:
    """An attack on the class that `small_network` gives each of 12 images."""
    victim = small_network(32)
    images = np.random.default_rng(0).integers(90, 160, (12, 32, 32, 3), dtype=np.uint8)
    clean = victim.scores(torch.from_numpy(images), torch.arange(12)).argmax(1).numpy()
    ids = [f"{row}" for row in range(12)]
    return run_attack(victim, DominantEmotionFlip(clean), attack, images, ids, pixels=pixels, budget=budget)


class Curved:
    """A margin ``base + sum(sin(weights * image))`` that bends; keeps the images at which its gradient is asked for."""

    def __init__(self, weights: torch.Tensor, base: float) -> None:
        self.weights, self.base, self.images = weights, base, list[np.ndarray]()

    def of(self, image: torch.Tensor) -> torch.Tensor:
        """``(H, W, 3)`` in 0..1 to a number."""
        return self.base + (self.weights * image).sin().sum()

    def screen(self, image: np.ndarray, candidates: Candidates) -> np.ndarray:
        raise NotImplementedError

    def margin(self, image: np.ndarray) -> tuple[float, np.ndarray]:
        self.images.append(image / 255)
        leaf = torch.from_numpy(image).requires_grad_()
        margin = self.of(leaf / 255)
        margin.backward()
        assert leaf.grad is not None
        return margin.item(), leaf.grad.numpy()

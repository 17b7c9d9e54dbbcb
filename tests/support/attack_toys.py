"""Victims small enough to know everything about, in float64 so that no batch size changes a score."""

from collections.abc import Callable

import numpy as np
import torch

from mmer_core.attacks import Candidates, Criterion, apply
from mmer_core.attacks.victims import Screen


class FunctionVictim:
    """Scores are a function of one image ``(H, W, 3)`` float64 and its row; counts what it was asked."""

    def __init__(self, size: tuple[int, int], score: Callable[[np.ndarray, int], list[float]]) -> None:
        self.size = size
        self._score = score
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

    def screen(self, criterion: Criterion, row: int) -> Screen:
        """Estimates that are right."""

        def screen(image: np.ndarray, candidates: Candidates) -> np.ndarray:
            attacked = apply(np.repeat(image[None], len(candidates), axis=0), candidates)
            scores = [self._score(one.astype(np.float64), row) for one in attacked]
            rows = torch.full((len(candidates),), row)
            return criterion.margin(torch.tensor(scores, dtype=torch.float64), rows).numpy()

        return screen


def linear_victim(weights: np.ndarray, thresholds: list[float]) -> FunctionVictim:
    """Two scores: the row's threshold, and ``sum(weights * image) / 255``; the second must overtake."""
    return FunctionVictim(
        (weights.shape[0], weights.shape[1]),
        lambda image, row: [thresholds[row], float((weights * image).sum() / 255)],
    )

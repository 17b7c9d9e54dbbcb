"""Controls succeed as often, and as late, as the probability of one query says."""

import numpy as np
import pytest
import torch
from scipy import stats

from mmer_core.attacks import Attack, DominantEmotionFlip, RandomPixels, run_attack
from mmer_core.attacks.random_corners import RandomCorners

SIDE, BUDGET, IMAGES = 12, 100, 600


class Spots:
    """Fooled where any of the first ``spots[row]`` pixels of a black image is red, 128 or more of 255."""

    size = (SIDE, SIDE)

    def __init__(self, spots: np.ndarray) -> None:
        self.spots = torch.from_numpy(spots)

    def scores(self, images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        reddish = images[..., 0].flatten(1) >= 128
        inside = torch.arange(SIDE * SIDE) < self.spots[rows, None]
        fooled = (reddish & inside).any(dim=1).double()
        return torch.stack([torch.full_like(fooled, 0.5), fooled], dim=1)


def probability(spots: int, pixels: int) -> float:
    """That one query succeeds: any of the pixels that fall on the spots, without replacement, is red, half of them are."""
    hits = np.arange(pixels + 1)
    return float(1 - stats.hypergeom(SIDE * SIDE, spots, pixels).pmf(hits) @ 0.5**hits)


@pytest.mark.parametrize("pixels", [1, 4])
@pytest.mark.parametrize("attack", [RandomPixels(), RandomCorners()], ids=["pixels", "corners"])
def test_queries_until_the_first_success_are_geometric(attack: Attack, pixels: int) -> None:
    rng = np.random.default_rng(pixels)
    spots = rng.integers(1, 17, IMAGES)
    images = np.zeros((IMAGES, SIDE, SIDE, 3), np.uint8)
    outcomes = run_attack(
        Spots(spots),
        DominantEmotionFlip(np.zeros(IMAGES, int)),
        attack,
        images,
        [f"{number}" for number in range(IMAGES)],
        pixels=pixels,
        budget=BUDGET,
    )
    chances = np.array([probability(count, pixels) for count in range(17)])[spots]
    fooled = np.array([one.status == "fooled" for one in outcomes])
    expected = 1 - (1 - chances) ** BUDGET
    error = np.sqrt((expected * (1 - expected)).sum())
    assert abs(fooled.sum() - expected.sum()) < 3 * error
    # The law's own quantiles, spread evenly between its steps, are uniform.
    queries = np.where(fooled, [one.queries for one in outcomes], BUDGET + 1)
    low = 1 - (1 - chances) ** (queries - 1)
    high = np.where(fooled, 1 - (1 - chances) ** queries, 1)
    assert stats.kstest(rng.uniform(low, high), "uniform").pvalue > 1e-3

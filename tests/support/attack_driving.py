"""Searches driven by hand, without a victim."""

from collections.abc import Callable, Iterator

import numpy as np

from mmer_core.attacks import Attack, DominantEmotionFlip, Search
from support.attack_toys import FunctionVictim

IMAGE = np.zeros((6, 9, 3), np.uint8)
BRIGHTNESS = FunctionVictim(
    (6, 9),
    lambda image, row: [image[..., 0].sum(), image[..., 1].sum()],
    lambda image: np.stack([np.broadcast_to(np.eye(3)[channel], image.shape) for channel in (0, 1)]),
)
"""For attacks that look at more than their margins."""


def begin(attack: Attack, budget: int, pixels: int = 2, seed: int = 0, image: np.ndarray = IMAGE) -> Search:
    rng = np.random.default_rng(seed)
    return attack.start_on(BRIGHTNESS, DominantEmotionFlip([0]), 0, image, pixels, rng, budget)


def drive(search: Search, limits: Iterator[int], margin: Callable[[np.ndarray], float]) -> np.ndarray:
    """Run a search to its end and return all that it asked, ``(Q, K, 5)``."""
    asked = []
    while (candidates := search.ask(limit := next(limits))) is not None:
        assert 1 <= len(candidates) <= limit
        drawn = np.concatenate([candidates.positions, candidates.colours.astype(np.int32)], axis=2)
        asked.append(drawn)
        search.tell(np.array([margin(one) for one in drawn]))
    return np.concatenate(asked)


def brightness(candidate: np.ndarray) -> float:
    """A margin of a candidate ``(K, 5)``: lower where its colours are brighter, never a success."""
    return 2000.0 - candidate[:, 2:].sum()

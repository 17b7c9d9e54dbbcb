"""A linear victim, whose optimum is known."""

import itertools

import numpy as np

from mmer_core.attacks import Attack, DominantEmotionFlip, Outcome, run_attack
from support.attack_toys import linear_victim

CORNERS = np.array(list(itertools.product((0.0, 255.0), repeat=3)))


def attacked_once(
    attack: Attack, image: np.ndarray, weights: np.ndarray, pixels: int, gain: float
) -> Outcome:
    """The outcome where the second score must rise by ``gain``."""
    clean = float((weights * image).sum() / 255)
    victim = linear_victim(weights, [clean + gain])
    settings = {"pixels": pixels, "budget": 8_000, "batch_size": 64}
    (outcome,) = run_attack(victim, DominantEmotionFlip([0]), attack, image[None], ["only"], **settings)
    return outcome


def best_gain(image: np.ndarray, weights: np.ndarray, pixels: int, colours: np.ndarray) -> float:
    """What the best K pixels with the given colours ``(n, 3)`` add to a linear score, by trying all."""
    gains = [
        max((weights[y, x] * (colour - image[y, x])).sum() / 255 for colour in colours)
        for y in range(image.shape[0])
        for x in range(image.shape[1])
    ]
    return sum(max(gain, 0.0) for gain in sorted(gains)[-pixels:])

"""From a person's surroundings to categories and VAD, as rated by annotators who differ."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmer_core.taxonomy import EMOTIC_CATEGORIES

# Category: its base probability, then the probability that each cue alone makes an annotator name it.
_RULES: Mapping[str, tuple[float, Mapping[str, float]]] = {
    "Affection": (0.005, {"hugging": 0.7, "flowers": 0.15, "dog": 0.12}),
    "Anger": (0.003, {"angry": 0.6, "pointing": 0.12, "vase": 0.15}),
    "Annoyance": (0.005, {"angry": 0.35, "vase": 0.25, "pointing": 0.12, "rain": 0.06}),
    "Anticipation": (0.05, {"ball": 0.35, "gift": 0.4, "running": 0.25, "laptop": 0.15, "stadium": 0.15}),
    "Aversion": (0.005, {"spider": 0.35, "angry": 0.12, "frown": 0.06}),
    "Confidence": (0.05, {"trophy": 0.6, "laptop": 0.25, "running": 0.15, "stadium": 0.2, "pointing": 0.12}),
    "Disapproval": (0.003, {"pointing": 0.3, "angry": 0.25, "frown": 0.06}),
    "Disconnection": (0.01, {"lying": 0.2, "sitting": 0.08, "alone": 0.05, "umbrella": 0.2, "forest": 0.05}),
    "Disquietment": (0.01, {"spider": 0.3, "night": 0.12, "frown": 0.2, "vase": 0.12}),
    "Doubt/Confusion": (0.01, {"frown": 0.3, "umbrella": 0.15, "laptop": 0.1}),
    "Embarrassment": (0.003, {"vase": 0.3, "crouching": 0.12}),
    "Engagement": (0.28, {"book": 0.5, "laptop": 0.6, "ball": 0.4, "running": 0.4, "hugging": 0.2}),
    "Esteem": (0.005, {"trophy": 0.45, "flowers": 0.12, "hugging": 0.08}),
    "Excitement": (0.02, {"jumping": 0.65, "balloons": 0.35, "ball": 0.15, "trophy": 0.25, "open": 0.1}),
    "Fatigue": (0.005, {"lying": 0.4, "room": 0.05}),
    "Fear": (0.002, {"spider": 0.5, "open": 0.06, "night": 0.06}),
    "Happiness": (0.02, {"smile": 0.6, "balloons": 0.2, "cake": 0.25, "waving": 0.12}),
    "Pain": (0.002, {"kit": 0.55, "tears": 0.12}),
    "Peace": (0.01, {"beach": 0.2, "forest": 0.18, "lying": 0.15, "sitting": 0.1}),
    "Pleasure": (0.01, {"cake": 0.4, "beach": 0.15, "smile": 0.12, "sun": 0.03}),
    "Sadness": (0.003, {"tears": 0.55, "gravestone": 0.35, "rain": 0.03}),
    "Sensitivity": (0.003, {"tears": 0.2, "flowers": 0.2, "dog": 0.12}),
    "Suffering": (0.002, {"tears": 0.3, "kit": 0.3, "crouching": 0.06}),
    "Surprise": (0.005, {"open": 0.25, "gift": 0.3, "spider": 0.1}),
    "Sympathy": (0.003, {"gravestone": 0.25, "kit": 0.25, "hugging": 0.1, "dog": 0.06}),
    "Yearning": (0.005, {"night": 0.1, "snow": 0.06, "flowers": 0.1, "umbrella": 0.1}),
}

_NEUTRAL = np.array([5.4, 4.4, 5.6])
# Contribution of each cue to (valence, arousal, dominance).
_SHIFTS: Mapping[str, tuple[float, float, float]] = {
    "smile": (1.6, 0.4, 0.5),
    "frown": (-1.3, 0.2, -0.6),
    "tears": (-2.2, 0.5, -1.4),
    "open": (0.0, 1.4, -0.3),
    "angry": (-1.8, 1.6, 0.9),
    "jumping": (0.9, 2.0, 0.7),
    "running": (0.2, 1.8, 0.6),
    "lying": (0.0, -1.6, -0.8),
    "sitting": (0.0, -0.8, 0.0),
    "crouching": (-0.6, 0.0, -1.3),
    "hugging": (0.9, -0.2, 0.2),
    "pointing": (-0.3, 0.6, 1.0),
    "sun": (0.5, 0.0, 0.2),
    "rain": (-0.6, 0.0, -0.2),
    "night": (-0.3, 0.3, -0.3),
    "balloons": (0.7, 0.6, 0.1),
    "cake": (0.7, 0.3, 0.1),
    "trophy": (0.8, 0.8, 1.3),
    "ball": (0.3, 0.8, 0.4),
    "gravestone": (-1.2, -0.6, -0.7),
    "kit": (-1.3, 0.6, -1.2),
    "spider": (-1.2, 1.4, -1.2),
    "vase": (-0.8, 0.5, -0.2),
    "beach": (0.5, -0.3, 0.2),
    "Kid": (0.2, 0.3, -0.7),
}
_DISAGREEMENT = 0.7
"""Standard deviation of one annotator's ratings."""


@dataclass
class Rating:
    """One annotator's labels for one person; ratings are whole numbers in 1..10."""

    categories: list[str]
    vad: tuple[float, float, float]


def chances(cues: frozenset[str]) -> np.ndarray:
    """``(C,)`` probability that an annotator names each category; cues act independently (noisy-or)."""
    silent = [
        (1 - base) * math.prod([1 - strength for cue, strength in rule.items() if cue in cues])
        for base, rule in (_RULES[name] for name in EMOTIC_CATEGORIES)
    ]
    return 1 - np.array(silent)


def rate(cues: frozenset[str], rng: np.random.Generator) -> Rating:
    """One annotator's opinion; at least one category."""
    chance = chances(cues)
    named = rng.random(len(chance)) < chance
    if not named.any():
        named[int(rng.choice(len(chance), p=chance / chance.sum()))] = True
    mean = _NEUTRAL + sum((np.array(_SHIFTS[cue]) for cue in sorted(cues) if cue in _SHIFTS), np.zeros(3))
    valence, arousal, dominance = np.clip(np.rint(rng.normal(mean, _DISAGREEMENT)), 1, 10).tolist()
    categories = [name for name, hit in zip(EMOTIC_CATEGORIES, named, strict=True) if hit]
    return Rating(categories, (valence, arousal, dominance))

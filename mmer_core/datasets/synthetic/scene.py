"""The factors of a picture: occasion, place, weather, objects and people.

An occasion makes some places, objects, postures and faces likely, and each factor is sometimes drawn independently.
So context, body and caption agree often enough to be matched, and differ often enough that each carries information
that the others lack.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

GENERATOR_VERSION = "1"
"""Incremented whenever the same configuration would draw different files."""

PLACES = ("beach", "forest", "street", "room", "park", "snow", "graveyard", "stadium")
WEATHERS = ("sun", "clouds", "rain", "night")
POSES = ("standing", "jumping", "running", "sitting", "lying", "crouching", "hugging", "pointing", "waving")
FACES = ("neutral", "smile", "frown", "tears", "open", "angry")
OBJECTS = (
    "balloons", "dog", "cake", "vase", "ball", "gravestone", "book", "gift", "trophy", "spider", "flowers",
    "kit", "laptop", "umbrella",
)  # fmt: skip
COLOURS = {
    "red": (205, 40, 45), "blue": (45, 80, 200), "green": (40, 150, 70), "yellow": (240, 205, 50),
    "white": (240, 240, 240), "black": (35, 35, 40), "pink": (240, 130, 175), "orange": (240, 140, 40),
}  # fmt: skip
FREE = 0.22
"""Probability that a factor is drawn independently of the occasion."""


@dataclass(frozen=True)
class Occasion:
    """Factors that tend to go together; ``weight`` is the relative frequency."""

    weight: float
    places: Sequence[str]
    weathers: Sequence[str]
    poses: Sequence[str]
    faces: Sequence[str]
    objects: Sequence[str]


OCCASIONS: Mapping[str, Occasion] = {
    "errand": Occasion(
        0.20, ("street", "park"), ("sun", "clouds"), ("standing", "sitting", "waving"), ("neutral", "smile"),
        ("dog", "umbrella", "book"),
    ),
    "work": Occasion(
        0.18, ("room", "street"), ("clouds", "sun"), ("sitting", "standing"), ("neutral",), ("laptop", "book")
    ),
    "sport": Occasion(
        0.17, ("stadium", "park", "snow"), ("sun", "clouds"), ("running", "jumping"), ("open", "smile", "neutral"),
        ("ball", "trophy", "ball"),
    ),
    "party": Occasion(
        0.12, ("room", "beach", "park"), ("sun", "night"), ("jumping", "waving", "standing"), ("smile", "open"),
        ("balloons", "cake", "gift"),
    ),
    "romance": Occasion(
        0.08, ("beach", "park", "forest"), ("sun",), ("hugging", "sitting"), ("smile",), ("flowers", "gift")
    ),
    "rest": Occasion(
        0.09, ("beach", "room", "forest"), ("sun", "clouds"), ("lying", "sitting"), ("neutral",), ("book", "dog")
    ),
    "funeral": Occasion(
        0.05, ("graveyard",), ("rain", "clouds"), ("standing", "crouching"), ("tears", "frown"),
        ("gravestone", "flowers", "umbrella"),
    ),
    "quarrel": Occasion(
        0.05, ("room", "street"), ("rain", "clouds"), ("pointing", "standing"), ("angry", "frown"), ("vase",)
    ),
    "accident": Occasion(
        0.03, ("street", "snow", "stadium"), ("clouds", "rain"), ("lying", "crouching"), ("tears", "frown"),
        ("kit",),
    ),
    "scare": Occasion(
        0.03, ("forest", "graveyard", "room"), ("night",), ("running", "crouching"), ("open",), ("spider",)
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One person; colours are names from `COLOURS`."""

    gender: str
    age: str
    pose: str
    face: str
    shirt: str
    trousers: str
    skin: tuple[int, int, int]
    hair: tuple[int, int, int]


@dataclass(frozen=True)
class Scene:
    """A picture before it is painted; ``width`` and ``height`` in pixels."""

    width: int
    height: int
    place: str
    weather: str
    objects: tuple[str, ...]
    object_colour: str
    figures: tuple[Figure, ...]

    def cues(self, figure: Figure) -> frozenset[str]:
        """Everything about a person and their surroundings that may influence an emotion."""
        company = "together" if len(self.figures) > 1 else "alone"
        weather = "indoors" if self.place == "room" else self.weather
        return frozenset({self.place, weather, company, figure.pose, figure.face, figure.age, *self.objects})


_T = TypeVar("_T")


def pick(rng: np.random.Generator, options: Sequence[_T]) -> _T:
    """One option, uniformly drawn."""
    return options[int(rng.integers(len(options)))]


def sample_scene(rng: np.random.Generator) -> Scene:
    """Draw the factors of one picture."""
    weights = np.array([occasion.weight for occasion in OCCASIONS.values()])
    row = int(rng.choice(len(weights), p=weights / weights.sum()))
    occasion = list(OCCASIONS.values())[row]
    people = int(rng.choice([1, 2, 3], p=[0.62, 0.28, 0.10]))
    count = int(rng.choice([0, 1, 2], p=[0.15, 0.6, 0.25]))
    objects = dict.fromkeys(_either(rng, occasion.objects, OBJECTS) for _ in range(count))
    return Scene(
        width=int(rng.integers(200, 290)),
        height=int(rng.integers(180, 230)),
        place=_either(rng, occasion.places, PLACES),
        weather=_either(rng, occasion.weathers, WEATHERS),
        objects=tuple(objects),
        object_colour=pick(rng, list(COLOURS)),
        figures=tuple(_figure(rng, occasion) for _ in range(people)),
    )


def _either(rng: np.random.Generator, usual: Sequence[str], free: Sequence[str]) -> str:
    return pick(rng, free if rng.random() < FREE else usual)


def _figure(rng: np.random.Generator, occasion: Occasion) -> Figure:
    tone = rng.uniform(0.45, 1.0)
    hair = pick(rng, [(40, 28, 20), (105, 65, 30), (215, 180, 95), (150, 150, 150), (160, 60, 30)])
    return Figure(
        gender=pick(rng, ("Male", "Female")),
        age=str(rng.choice(["Adult", "Teenager", "Kid"], p=[0.7, 0.12, 0.18])),
        pose=_either(rng, occasion.poses, POSES),
        face=_either(rng, occasion.faces, FACES),
        shirt=pick(rng, list(COLOURS)),
        trousers=pick(rng, ("blue", "black", "white", "green")),
        skin=(int(250 * tone), int(205 * tone), int(170 * tone)),
        hair=hair,
    )

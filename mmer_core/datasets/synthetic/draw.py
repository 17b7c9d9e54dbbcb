"""A scene as a picture, with the box of every person in it."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from mmer_core.datasets.sample import Box
from mmer_core.datasets.synthetic.backdrop import paint_backdrop, paint_weather
from mmer_core.datasets.synthetic.people import paint_person
from mmer_core.datasets.synthetic.props import paint_object
from mmer_core.datasets.synthetic.scene import COLOURS, Scene


@dataclass(frozen=True)
class Drawing:
    """A painted scene; ``boxes`` has one box per figure, inside the picture."""

    image: Image.Image
    boxes: tuple[Box, ...]


def render(scene: Scene, rng: np.random.Generator) -> Drawing:
    """Paint a scene; sizes and positions vary with the generator."""
    image = paint_backdrop(scene, rng)
    draw = ImageDraw.Draw(image)
    places = len(scene.figures) + len(scene.objects)
    slots = (rng.permutation(places) + 0.5 + rng.uniform(-0.12, 0.12, places)) * scene.width / places
    people, things = slots[: len(scene.figures)], slots[len(scene.figures) :]
    colour = COLOURS[scene.object_colour]
    for name, x in zip(scene.objects, things, strict=True):
        paint_object(draw, name, float(x), scene.height * rng.uniform(0.86, 0.96), colour)
    boxes = []
    for figure, x in zip(scene.figures, people, strict=True):
        height = scene.height * rng.uniform(0.58, 0.74)
        foot = (float(x), scene.height * rng.uniform(0.9, 0.98))
        boxes.append(paint_person(draw, figure, foot, height, mirror=bool(rng.random() < 0.5)))
    paint_weather(image, scene, rng)
    return Drawing(image, tuple(_inside(box, scene) for box in boxes))


def _inside(box: Box, scene: Scene) -> Box:
    x1, y1, x2, y2 = box
    return max(0, x1), max(0, y1), min(scene.width, x2), min(scene.height, y2)

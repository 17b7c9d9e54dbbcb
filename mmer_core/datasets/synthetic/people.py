"""Stick figures: a skeleton by posture, a face by expression."""

from PIL import ImageDraw

from mmer_core.datasets.sample import Box
from mmer_core.datasets.synthetic.scene import COLOURS, Figure

Point = tuple[float, float]

HEAD = 0.15
"""Radius of a head relative to the body's height; large, so that the face survives the body crop."""

# head, neck, hip, left hand, right hand, left foot, right foot: x to the right, y up from the ground.
_SKELETONS: dict[str, tuple[Point, ...]] = {
    "standing": ((0, 0.85), (0, 0.68), (0, 0.36), (-0.2, 0.36), (0.2, 0.36), (-0.1, 0), (0.1, 0)),
    "jumping": ((0, 0.97), (0, 0.8), (0, 0.48), (-0.34, 1.14), (0.34, 1.14), (-0.2, 0.15), (0.22, 0.2)),
    "running": ((0.12, 0.84), (0.07, 0.67), (0, 0.38), (-0.24, 0.5), (0.36, 0.62), (-0.32, 0.12), (0.26, 0)),
    "sitting": ((0, 0.66), (0, 0.5), (-0.04, 0.18), (0.2, 0.26), (0.24, 0.22), (0.3, 0), (0.38, 0)),
    "lying": (
        (-0.5, 0.17),
        (-0.33, 0.13),
        (0.02, 0.1),
        (-0.1, 0.04),
        (-0.06, 0.2),
        (0.46, 0.04),
        (0.46, 0.12),
    ),
    "crouching": ((0.06, 0.48), (0, 0.34), (-0.14, 0.14), (0.14, 0.34), (0.2, 0.3), (-0.04, 0), (0.1, 0)),
    "hugging": ((0.06, 0.85), (0, 0.68), (0, 0.36), (0.4, 0.6), (0.4, 0.5), (-0.08, 0), (0.1, 0)),
    "pointing": ((0, 0.85), (0, 0.68), (0, 0.36), (-0.2, 0.4), (0.5, 0.68), (-0.13, 0), (0.13, 0)),
    "waving": ((0, 0.85), (0, 0.68), (0, 0.36), (-0.2, 0.36), (0.3, 1.02), (-0.1, 0), (0.1, 0)),
}
_STATURE = {"Adult": 1.0, "Teenager": 0.88, "Kid": 0.68}


def paint_person(draw: ImageDraw.ImageDraw, figure: Figure, foot: Point, height: float, mirror: bool) -> Box:
    """Paint a person whose feet are at ``foot`` and whose height as an adult is ``height`` pixels.

    Returns:
        The box around everything painted; it may extend beyond the picture.
    """
    scale = height * _STATURE[figure.age]
    side = -1 if mirror else 1
    joints = [(foot[0] + side * x * scale, foot[1] - y * scale) for x, y in _SKELETONS[figure.pose]]
    head, neck, hip, left_hand, right_hand, left_foot, right_foot = joints
    shirt, trousers = COLOURS[figure.shirt], COLOURS[figure.trousers]
    limb, trunk, radius = max(4, int(scale * 0.085)), max(8, int(scale * 0.2)), scale * HEAD
    for end in (left_foot, right_foot):
        draw.line((*hip, *end), fill=trousers, width=limb)
        draw.circle(end, limb * 0.6, fill=(60, 40, 30))
    if figure.gender == "Female":
        _hair(draw, figure, head, radius)
    _trunk(draw, neck, hip, trunk, shirt)
    for hand in (left_hand, right_hand):
        draw.line((*neck, *hand), fill=tuple(int(value * 0.85) for value in shirt), width=limb)
        draw.circle(hand, limb * 0.65, fill=figure.skin)
    draw.circle((head[0], head[1] - radius * 0.25), radius * 1.02, fill=figure.hair)
    draw.circle(head, radius * 0.94, fill=figure.skin)
    _FACES[figure.face](draw, head, radius)
    margin = limb * 0.7
    xs = [x for x, _ in joints[1:]] + [head[0] - radius * 1.2, head[0] + radius * 1.2]
    ys = [y for _, y in joints[1:]] + [head[1] - radius * 1.4, head[1] + radius]
    return int(min(xs) - margin), int(min(ys) - margin), int(max(xs) + margin), int(max(ys) + margin)


def _trunk(
    draw: ImageDraw.ImageDraw, neck: Point, hip: Point, width: int, colour: tuple[int, int, int]
) -> None:
    draw.line((*neck, *hip), fill=colour, width=width)
    for joint in (neck, hip):
        draw.circle(joint, width / 2, fill=colour)


def _hair(draw: ImageDraw.ImageDraw, figure: Figure, head: Point, radius: float) -> None:
    x, y = head
    draw.rounded_rectangle(
        (x - radius * 1.15, y - radius, x + radius * 1.15, y + radius * 1.3), 6, fill=figure.hair
    )


def _eyes(draw: ImageDraw.ImageDraw, head: Point, radius: float, size: float) -> None:
    for side in (-1, 1):
        eye = (head[0] + side * radius * 0.38, head[1] - radius * 0.15)
        draw.circle(eye, radius * size * 1.7, fill=(255, 255, 255))
        draw.circle(eye, radius * size, fill=(20, 20, 30))


def _mouth(draw: ImageDraw.ImageDraw, head: Point, radius: float, start: int, end: int, drop: float) -> None:
    x, y = head[0], head[1] + radius * drop
    box = (x - radius * 0.5, y - radius * 0.35, x + radius * 0.5, y + radius * 0.35)
    draw.arc(box, start, end, fill=(150, 20, 30), width=max(2, int(radius * 0.17)))


def _neutral(draw: ImageDraw.ImageDraw, head: Point, radius: float) -> None:
    _eyes(draw, head, radius, 0.11)
    y = head[1] + radius * 0.45
    draw.line((head[0] - radius * 0.3, y, head[0] + radius * 0.3, y), fill=(130, 50, 50), width=2)


def _smile(draw: ImageDraw.ImageDraw, head: Point, radius: float) -> None:
    _eyes(draw, head, radius, 0.11)
    x, y = head[0], head[1] + radius * 0.2
    draw.chord(
        (x - radius * 0.55, y - radius * 0.5, x + radius * 0.55, y + radius * 0.5), 0, 180, fill="white"
    )
    _mouth(draw, head, radius, 5, 175, 0.32)


def _frown(draw: ImageDraw.ImageDraw, head: Point, radius: float) -> None:
    _eyes(draw, head, radius, 0.1)
    _mouth(draw, head, radius, 190, 350, 0.7)


def _tears(draw: ImageDraw.ImageDraw, head: Point, radius: float) -> None:
    _frown(draw, head, radius)
    for side in (-1, 1):
        x, y = head[0] + side * radius * 0.42, head[1]
        draw.ellipse((x - radius * 0.14, y, x + radius * 0.14, y + radius * 0.75), fill=(70, 150, 255))


def _open(draw: ImageDraw.ImageDraw, head: Point, radius: float) -> None:
    _eyes(draw, head, radius, 0.17)
    x, y = head[0], head[1] + radius * 0.5
    draw.ellipse(
        (x - radius * 0.26, y - radius * 0.33, x + radius * 0.26, y + radius * 0.33), fill=(110, 15, 25)
    )


def _angry(draw: ImageDraw.ImageDraw, head: Point, radius: float) -> None:
    draw.circle(head, radius * 0.94, fill=(225, 80, 60))
    _eyes(draw, head, radius, 0.1)
    for side in (-1, 1):
        outer = (head[0] + side * radius * 0.7, head[1] - radius * 0.62)
        inner = (head[0] + side * radius * 0.1, head[1] - radius * 0.3)
        draw.line((*outer, *inner), fill=(30, 20, 20), width=max(3, int(radius * 0.18)))
    x, y = head[0], head[1] + radius * 0.5
    draw.rectangle(
        (x - radius * 0.42, y - radius * 0.12, x + radius * 0.42, y + radius * 0.14),
        fill="white",
        outline=(90, 0, 0),
    )


_FACES = {
    "neutral": _neutral,
    "smile": _smile,
    "frown": _frown,
    "tears": _tears,
    "open": _open,
    "angry": _angry,
}

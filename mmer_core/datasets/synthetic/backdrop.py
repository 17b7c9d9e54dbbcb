"""Places and weather, painted behind the people."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from mmer_core.datasets.synthetic.dice import Colour, Dice
from mmer_core.datasets.synthetic.scene import Scene

_SKIES: dict[str, tuple[Colour, Colour]] = {
    "sun": ((70, 150, 235), (200, 230, 250)),
    "clouds": ((150, 165, 185), (215, 220, 225)),
    "rain": ((85, 95, 110), (140, 148, 158)),
    "night": ((8, 10, 38), (40, 40, 85)),
}
_GROUNDS: dict[str, Colour] = {
    "beach": (235, 210, 150), "forest": (70, 95, 45), "street": (105, 105, 110), "room": (165, 115, 75),
    "park": (105, 180, 75), "snow": (238, 243, 250), "graveyard": (90, 105, 80), "stadium": (60, 150, 65),
}  # fmt: skip


def paint_backdrop(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Sky or wall, ground, and the objects on it."""
    dice = Dice(rng)
    horizon = int(scene.height * (0.42 + 0.16 * dice.share()))
    image = Image.new("RGB", (scene.width, scene.height))
    _gradient(image, *_SKIES[scene.weather])
    draw = ImageDraw.Draw(image)
    if scene.place != "room":
        _sky(draw, scene, dice)
    ground = _jitter(_GROUNDS[scene.place], dice)
    draw.rectangle((0, horizon, scene.width, scene.height), fill=ground)
    _PAINTERS[scene.place](draw, scene, horizon, dice)
    return image


def paint_weather(image: Image.Image, scene: Scene, rng: np.random.Generator) -> None:
    """Rain in front of the people, and sensor noise; darkness at night."""
    if scene.weather == "rain" and scene.place != "room":
        draw = ImageDraw.Draw(image)
        for x, y in Dice(rng).points((-20, -20), (scene.width, scene.height), 90):
            draw.line((x, y, x + 4, y + 13), fill=(190, 205, 225))
    pixels = np.asarray(image, dtype=np.int16)
    noise = rng.integers(-7, 8, pixels.shape[:2], dtype=np.int16)[..., None]
    factor = 0.72 if scene.weather == "night" and scene.place != "room" else 1.0
    image.paste(Image.fromarray(np.clip(pixels * factor + noise, 0, 255).astype(np.uint8)))


def _jitter(colour: Colour, dice: Dice) -> Colour:
    red, green, blue = (min(255, max(0, value + dice.whole(-18, 19))) for value in colour)
    return red, green, blue


def _gradient(image: Image.Image, top: Colour, bottom: Colour) -> None:
    steps = np.linspace(top, bottom, image.height)[:, None, :]
    image.paste(Image.fromarray(np.broadcast_to(steps, (image.height, image.width, 3)).astype(np.uint8)))


def _sky(draw: ImageDraw.ImageDraw, scene: Scene, dice: Dice) -> None:
    if scene.weather == "sun":
        centre = (dice.whole(25, scene.width - 25), dice.whole(18, 40))
        radius = dice.whole(13, 20)
        draw.circle(centre, radius + 5, fill=(255, 240, 160))
        draw.circle(centre, radius, fill=(255, 220, 60))
    elif scene.weather == "night":
        for x, y in dice.points((0, 0), (scene.width, scene.height * 0.4), 25):
            draw.point((x, y), fill=(250, 250, 220))
        draw.circle((dice.whole(25, scene.width - 25), 28), 13, fill=(235, 235, 205))
    else:
        shade = 235 if scene.weather == "clouds" else 70
        for x, y in dice.points((0, 8), (scene.width, 45), 5):
            for step in (-18, 0, 18):
                draw.ellipse((x + step - 20, y - 11, x + step + 20, y + 11), fill=(shade, shade, shade + 8))


def _beach(draw: ImageDraw.ImageDraw, scene: Scene, horizon: int, dice: Dice) -> None:
    draw.rectangle((0, horizon - 25, scene.width, horizon + 8), fill=(40, 125, 190))
    for y in range(horizon - 20, horizon + 8, 8):
        start = dice.whole(0, 30)
        draw.line((start, y, scene.width - 20, y), fill=(170, 215, 240))
    x = dice.whole(10, scene.width - 10)
    draw.line((x, horizon + 30, x + 8, horizon - 50), fill=(120, 80, 40), width=7)
    for dx, dy in ((-32, 5), (-20, -20), (12, -24), (35, -6), (28, 14)):
        draw.line((x + 8, horizon - 50, x + 8 + dx, horizon - 50 + dy), fill=(30, 130, 50), width=7)


def _forest(draw: ImageDraw.ImageDraw, scene: Scene, horizon: int, dice: Dice) -> None:
    for x in sorted(dice.spread(0, scene.width, 11)):
        height, green = dice.whole(70, 120), dice.whole(55, 120)
        draw.rectangle((x - 4, horizon - 20, x + 4, horizon + 12), fill=(80, 50, 25))
        for level in (0, 1, 2):
            base = horizon - level * height // 4
            tip = base - height // 2
            draw.polygon(
                [(x - 24 + level * 5, base), (x + 24 - level * 5, base), (x, tip)], fill=(20, green, 35)
            )


def _street(draw: ImageDraw.ImageDraw, scene: Scene, horizon: int, dice: Dice) -> None:
    x = 0
    while x < scene.width:
        width, height = dice.whole(40, 70), dice.whole(60, horizon)
        tint = dice.tint(95, 190)
        draw.rectangle((x, horizon - height, x + width, horizon), fill=tint, outline=(60, 60, 60))
        for wx in range(x + 6, x + width - 10, 14):
            for wy in range(horizon - height + 8, horizon - 12, 18):
                draw.rectangle(
                    (wx, wy, wx + 7, wy + 10), fill=(250, 235, 150) if dice.share() < 0.4 else (70, 85, 105)
                )
        x += width
    for start in range(0, scene.width, 50):
        draw.rectangle((start, scene.height - 20, start + 26, scene.height - 15), fill=(235, 235, 235))


def _room(draw: ImageDraw.ImageDraw, scene: Scene, horizon: int, dice: Dice) -> None:
    wall = dice.tint(170, 235)
    draw.rectangle((0, 0, scene.width, horizon), fill=wall)
    x = dice.whole(15, scene.width - 75)
    draw.rectangle((x, 15, x + 55, 60), fill=_SKIES[scene.weather][1], outline=(250, 250, 250), width=4)
    draw.line((x + 27, 15, x + 27, 60), fill=(250, 250, 250), width=3)
    left = dice.whole(0, scene.width - 100)
    sofa = dice.tint(60, 200)
    draw.rounded_rectangle((left, horizon - 34, left + 100, horizon + 22), 9, fill=sofa, outline=(50, 40, 40))
    for y in range(horizon + 6, scene.height, 14):
        draw.line((0, y, scene.width, y), fill=(125, 85, 50))


def _park(draw: ImageDraw.ImageDraw, scene: Scene, horizon: int, dice: Dice) -> None:
    for x in dice.spread(0, scene.width, 4):
        draw.rectangle((x - 5, horizon - 40, x + 5, horizon + 8), fill=(105, 70, 40))
        for dx, dy in ((-16, -48), (16, -48), (0, -66)):
            draw.circle((x + dx, horizon + dy), 20, fill=(60, dice.whole(130, 180), 60))
    for x, y in dice.points((0, horizon + 8), (scene.width, scene.height), 22):
        draw.circle((x, y), 2, fill=dice.tint(150, 256))


def _snow(draw: ImageDraw.ImageDraw, scene: Scene, horizon: int, dice: Dice) -> None:
    for x in dice.spread(0, scene.width, 3):
        height, half = dice.whole(50, 85), dice.whole(50, 80)
        draw.polygon([(x - half, horizon), (x + half, horizon), (x, horizon - height)], fill=(125, 135, 155))
        tip = [(x - half // 3, horizon - 2 * height // 3), (x + half // 3, horizon - 2 * height // 3)]
        draw.polygon([*tip, (x, horizon - height)], fill=(250, 250, 255))
    for x, y in dice.points((0, 0), (scene.width, scene.height), 60):
        draw.circle((x, y), 1.5, fill=(255, 255, 255))


def _graveyard(draw: ImageDraw.ImageDraw, scene: Scene, horizon: int, dice: Dice) -> None:
    shift = dice.whole(-5, 6)
    for x in range(12 + shift, scene.width, 34):
        draw.line((x, horizon + 14, x, horizon - 22), fill=(60, 60, 62), width=5)
        draw.line((x - 9, horizon - 11, x + 9, horizon - 11), fill=(60, 60, 62), width=5)


def _stadium(draw: ImageDraw.ImageDraw, scene: Scene, horizon: int, dice: Dice) -> None:
    draw.rectangle((0, horizon - 50, scene.width, horizon), fill=(70, 75, 95))
    for x, y in dice.points((0, horizon - 47), (scene.width, horizon - 6), 150):
        draw.circle((x, y), 2.5, fill=dice.tint(70, 256))
    for y in (horizon + 14, scene.height - 12):
        draw.line((0, y, scene.width, y), fill=(245, 245, 245), width=3)


_PAINTERS: dict[str, Callable[[ImageDraw.ImageDraw, Scene, int, Dice], None]] = {
    "beach": _beach,
    "forest": _forest,
    "street": _street,
    "room": _room,
    "park": _park,
    "snow": _snow,
    "graveyard": _graveyard,
    "stadium": _stadium,
}

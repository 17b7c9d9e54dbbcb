"""Objects, each painted relative to its foot point."""

from collections.abc import Callable

from PIL import ImageDraw

Colour = tuple[int, int, int]


def paint_object(draw: ImageDraw.ImageDraw, name: str, x: float, y: float, colour: Colour) -> None:
    """Paint an object whose foot is at ``(x, y)``; most are 30 to 60 pixels high."""
    _PAINTERS[name](draw, x, y, colour)


def _balloons(draw: ImageDraw.ImageDraw, x: float, y: float, colour: Colour) -> None:
    for dx, dy, tint in ((-15, -95, colour), (4, -112, (250, 210, 60)), (20, -90, (230, 60, 120))):
        draw.line((x, y - 30, x + dx, y + dy), fill=(90, 90, 90))
        draw.ellipse((x + dx - 13, y + dy - 17, x + dx + 13, y + dy + 15), fill=tint, outline=(80, 40, 40))


def _dog(draw: ImageDraw.ImageDraw, x: float, y: float, colour: Colour) -> None:
    fur = (150, 95, 50)
    draw.ellipse((x - 24, y - 30, x + 18, y - 10), fill=fur)
    draw.circle((x + 22, y - 32), 11, fill=fur)
    draw.polygon([(x + 14, y - 40), (x + 20, y - 52), (x + 24, y - 40)], fill=(95, 55, 25))
    draw.circle((x + 32, y - 31), 3, fill=(20, 20, 20))
    draw.line((x - 23, y - 24, x - 36, y - 38), fill=fur, width=5)
    for leg in (-18, -10, 6, 13):
        draw.line((x + leg, y - 14, x + leg, y), fill=fur, width=5)
    draw.line((x + 13, y - 24, x + 20, y - 20), fill=colour, width=4)


def _cake(draw: ImageDraw.ImageDraw, x: float, y: float, colour: Colour) -> None:
    draw.rectangle((x - 24, y - 22, x + 24, y), fill=(250, 235, 215), outline=(150, 100, 70))
    draw.rectangle((x - 24, y - 26, x + 24, y - 17), fill=colour)
    for candle in (-14, 0, 14):
        draw.line((x + candle, y - 26, x + candle, y - 38), fill=(250, 250, 250), width=3)
        draw.circle((x + candle, y - 41), 3, fill=(255, 180, 40))


def _vase(draw: ImageDraw.ImageDraw, x: float, y: float, colour: Colour) -> None:
    draw.polygon(
        [(x - 18, y), (x - 24, y - 20), (x - 12, y - 13), (x - 4, y - 26), (x + 4, y - 12), (x + 12, y)],
        fill=colour,
        outline=(40, 40, 40),
    )
    for dx, dy in ((20, -3), (30, -8), (-32, -4), (27, 2)):
        draw.polygon(
            [(x + dx, y + dy), (x + dx + 8, y + dy - 5), (x + dx + 5, y + dy + 4)],
            fill=colour,
            outline=(40, 40, 40),
        )


def _ball(draw: ImageDraw.ImageDraw, x: float, y: float, colour: Colour) -> None:
    draw.circle((x, y - 15), 15, fill=(250, 250, 250), outline=(30, 30, 30))
    for dx, dy in ((0, -15), (-9, -23), (9, -22), (-7, -6), (8, -6)):
        draw.circle((x + dx, y + dy), 4, fill=colour)


def _gravestone(draw: ImageDraw.ImageDraw, x: float, y: float, colour: Colour) -> None:
    draw.rounded_rectangle(
        (x - 20, y - 54, x + 20, y + 4), 18, fill=(135, 138, 142), outline=(70, 70, 75), width=2
    )
    draw.line((x, y - 44, x, y - 20), fill=(60, 60, 62), width=4)
    draw.line((x - 9, y - 36, x + 9, y - 36), fill=(60, 60, 62), width=4)


def _book(draw: ImageDraw.ImageDraw, x: float, y: float, colour: Colour) -> None:
    draw.polygon(
        [(x, y - 6), (x - 26, y - 14), (x - 26, y - 38), (x, y - 30)],
        fill=(250, 248, 235),
        outline=colour,
        width=3,
    )
    draw.polygon(
        [(x, y - 6), (x + 26, y - 14), (x + 26, y - 38), (x, y - 30)],
        fill=(250, 248, 235),
        outline=colour,
        width=3,
    )
    for line in range(4):
        draw.line((x - 21, y - 31 + line * 5, x - 5, y - 26 + line * 5), fill=(120, 120, 120))
        draw.line((x + 5, y - 26 + line * 5, x + 21, y - 31 + line * 5), fill=(120, 120, 120))


def _gift(draw: ImageDraw.ImageDraw, x: float, y: float, colour: Colour) -> None:
    draw.rectangle((x - 20, y - 34, x + 20, y), fill=colour, outline=(60, 30, 30))
    draw.rectangle((x - 4, y - 34, x + 4, y), fill=(255, 215, 0))
    for side in (-1, 1):
        draw.ellipse((x + side * 8 - 8, y - 45, x + side * 8 + 8, y - 33), outline=(255, 215, 0), width=3)


def _trophy(draw: ImageDraw.ImageDraw, x: float, y: float, colour: Colour) -> None:
    gold = (235, 190, 40)
    draw.pieslice((x - 20, y - 76, x + 20, y - 26), 0, 180, fill=gold, outline=(130, 95, 10))
    for side in (-1, 1):
        draw.arc((x + side * 20 - 9, y - 56, x + side * 20 + 9, y - 36), 0, 360, fill=gold, width=4)
    draw.rectangle((x - 4, y - 28, x + 4, y - 8), fill=gold)
    draw.rectangle((x - 15, y - 9, x + 15, y), fill=colour)


def _spider(draw: ImageDraw.ImageDraw, x: float, y: float, colour: Colour) -> None:
    for side in (-1, 1):
        for reach in (14, 20, 26, 32):
            knee = (x + side * reach * 0.7, y - 40 + reach * 0.3)
            draw.line((x, y - 22, *knee), fill=(10, 10, 10), width=3)
            draw.line((*knee, x + side * reach, y), fill=(10, 10, 10), width=3)
    draw.ellipse((x - 15, y - 34, x + 15, y - 10), fill=(20, 20, 20))
    draw.circle((x, y - 36), 8, fill=(20, 20, 20))
    for side in (-1, 1):
        draw.circle((x + side * 3, y - 38), 2, fill=(255, 30, 30))


def _flowers(draw: ImageDraw.ImageDraw, x: float, y: float, colour: Colour) -> None:
    for dx, dy in ((-14, -34), (0, -44), (14, -34), (-6, -28), (8, -27)):
        draw.line((x, y, x + dx, y + dy), fill=(40, 130, 50), width=3)
        for px, py in ((-5, 0), (5, 0), (0, -5), (0, 5)):
            draw.circle((x + dx + px, y + dy + py), 4.5, fill=colour)
        draw.circle((x + dx, y + dy), 3, fill=(255, 225, 70))


def _kit(draw: ImageDraw.ImageDraw, x: float, y: float, colour: Colour) -> None:
    draw.rounded_rectangle(
        (x - 27, y - 38, x + 27, y), 5, fill=(250, 250, 250), outline=(120, 20, 20), width=3
    )
    draw.rectangle((x - 5, y - 32, x + 5, y - 6), fill=(215, 20, 30))
    draw.rectangle((x - 14, y - 24, x + 14, y - 14), fill=(215, 20, 30))


def _laptop(draw: ImageDraw.ImageDraw, x: float, y: float, colour: Colour) -> None:
    draw.rectangle((x - 26, y - 46, x + 26, y - 12), fill=(40, 42, 48), outline=(160, 160, 165), width=3)
    draw.rectangle((x - 20, y - 41, x + 20, y - 17), fill=(130, 190, 245))
    draw.polygon(
        [(x - 26, y - 12), (x + 26, y - 12), (x + 34, y), (x - 34, y)],
        fill=(175, 178, 185),
        outline=(90, 90, 95),
    )


def _umbrella(draw: ImageDraw.ImageDraw, x: float, y: float, colour: Colour) -> None:
    draw.line((x, y, x, y - 95), fill=(70, 50, 40), width=4)
    draw.pieslice((x - 38, y - 118, x + 38, y - 50), 180, 360, fill=colour, outline=(40, 40, 40))


_PAINTERS: dict[str, Callable[[ImageDraw.ImageDraw, float, float, Colour], None]] = {
    "balloons": _balloons,
    "dog": _dog,
    "cake": _cake,
    "vase": _vase,
    "ball": _ball,
    "gravestone": _gravestone,
    "book": _book,
    "gift": _gift,
    "trophy": _trophy,
    "spider": _spider,
    "flowers": _flowers,
    "kit": _kit,
    "laptop": _laptop,
    "umbrella": _umbrella,
}

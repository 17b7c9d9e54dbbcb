"""Attacks as pictures: the model's input before and after, and where one pixel is enough."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmer_core.attacks.vulnerability import OnePixelMap
from mmer_core.prediction.attacking import PhotoAttack

_SIDE = 448
"""Least side in pixels at which an input is shown: small ones are enlarged by a whole factor, pixel by pixel."""
_MARGIN, _FONT = 12, 16


def attack_picture(attack: PhotoAttack) -> Image.Image:
    """Before and after side by side, with what the model says below."""
    height, width = attack.clean.shape[:2]
    factor = max(1, -(-_SIDE // max(height, width)))
    font = ImageFont.load_default(_FONT)
    outcome = attack.outcome
    found = {"fooled": "fooled", "resisted": "not fooled", "already": "met the criterion unattacked"}
    title = (
        f"{outcome.attack}, {len(outcome.changed)} of at most {outcome.pixels} pixels, {outcome.queries} queries: "
        f"{found[outcome.status]}"
    )
    size = (2 * factor * width + 3 * _MARGIN, factor * height + 2 * _MARGIN + 3 * (_FONT + _MARGIN))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for column, (pixels, words) in enumerate(
        ((attack.clean, attack.before), (attack.attacked, attack.after))
    ):
        left, top = _MARGIN + column * (factor * width + _MARGIN), _MARGIN
        enlarged = np.repeat(np.repeat(pixels, factor, axis=0), factor, axis=1)
        sheet.paste(Image.fromarray(enlarged), (left, top))
        for y, x, *_ in outcome.changed:
            _ring(draw, left + factor * (x + 0.5), top + factor * (y + 0.5), 0.03 * factor * width + factor)
        line = _cut(draw, words, font, factor * width)
        draw.text((left, top + factor * height + _MARGIN), line, "black", font)
    foot = size[1] - _FONT - _MARGIN
    draw.text((_MARGIN, foot), _cut(draw, title, font, size[0] - 2 * _MARGIN), "dimgray", font)
    return sheet


def map_picture(image: np.ndarray, found: OnePixelMap) -> Image.Image:
    """The input beside its map: from white, where one pixel does nothing, to red, where it brings the criterion
    nearest; black where it meets it. Places that were not tried show their nearest neighbour."""
    rows, columns = (np.flatnonzero(~np.isnan(found.margins).all(axis=axis)) for axis in (1, 0))
    margins = found.margins[np.ix_(rows, columns)]
    gained = np.clip(found.clean_margin - margins, 0, None)
    heat = gained / max(gained.max(), 1e-12)
    colours = np.stack([np.ones_like(heat), 1 - heat, 1 - heat], axis=-1)
    colours[margins <= 0] = 0
    height, width = image.shape[:2]
    factor = max(1, -(-_SIDE // max(height, width)))
    shown = Image.fromarray((255 * colours).round().astype(np.uint8))
    sheet = Image.new("RGB", (2 * factor * width + 3 * _MARGIN, factor * height + 2 * _MARGIN), "white")
    enlarged = Image.fromarray(np.repeat(np.repeat(image, factor, axis=0), factor, axis=1))
    sheet.paste(enlarged, (_MARGIN, _MARGIN))
    size = (factor * width, factor * height)
    sheet.paste(shown.resize(size, Image.Resampling.NEAREST), (2 * _MARGIN + size[0], _MARGIN))
    return sheet


def _ring(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float) -> None:
    """White on black, to be seen on any ground."""
    for width, colour in ((5, "black"), (2, "white")):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=width)


def _cut(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float
) -> str:
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"

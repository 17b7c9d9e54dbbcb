"""Pictures of attacks: the model's input before and after, and a map of where one pixel suffices."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmer_core.attacks.outcomes import Outcome
from mmer_core.attacks.vulnerability import OnePixelMap
from mmer_core.reporting.pictures import exact_uri

_SIDE = 448
"""Minimal displayed side of an input in pixels; smaller ones are enlarged by a whole factor, nearest-neighbour."""
_LARGEST = 1024
"""Maximal displayed side of a photo in pixels; larger ones are reduced."""
_MARGIN, _FONT = 12, 16


@dataclass(frozen=True)
class PhotoAttack:
    """The result of one attack with one ``K`` on a photo.

    Attributes:
        clean, attacked: ``(H, W, 3)`` uint8, the model's input (or the photo) before and after.
        before, after: The model's outputs for them, in words.
    """

    outcome: Outcome
    clean: np.ndarray
    attacked: np.ndarray
    before: str
    after: str

    def to_dict(self) -> dict[str, Any]:
        """Everything except the unchanged pixels."""
        return asdict(self.outcome) | {"before": self.before, "after": self.after}

    def _repr_html_(self) -> str:
        return f'<img src="{exact_uri(np.asarray(attack_picture(self)))}" alt="before and after the attack">'


def attack_picture(attack: PhotoAttack) -> Image.Image:
    """Before and after side by side, with the model's outputs below."""
    scale = _scale(attack.clean)
    font = ImageFont.load_default(_FONT)
    outcome = attack.outcome
    found = {"fooled": "fooled", "resisted": "not fooled", "already": "met the criterion unattacked"}
    title = (
        f"{outcome.attack}, {len(outcome.changed)} of at most {outcome.pixels} pixels, {outcome.queries} queries: "
        f"{found[outcome.status]}"
    )
    shown = [_shown(pixels, scale) for pixels in (attack.clean, attack.attacked)]
    width, height = shown[0].size
    size = (2 * width + 3 * _MARGIN, height + 2 * _MARGIN + 3 * (_FONT + _MARGIN))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for column, (image, words) in enumerate(zip(shown, (attack.before, attack.after), strict=True)):
        left, top = _MARGIN + column * (width + _MARGIN), _MARGIN
        sheet.paste(image, (left, top))
        for y, x, *_ in outcome.changed:
            _ring(draw, left + scale * (x + 0.5), top + scale * (y + 0.5), 0.03 * width + scale)
        draw.text((left, top + height + _MARGIN), _cut(draw, words, font, width), "black", font)
    foot = size[1] - _FONT - _MARGIN
    draw.text((_MARGIN, foot), _cut(draw, title, font, size[0] - 2 * _MARGIN), "dimgray", font)
    return sheet


def map_picture(image: np.ndarray, found: OnePixelMap) -> Image.Image:
    """The input beside its map: from white, where one pixel has no effect, to red, where it comes closest to the
    criterion; black where it meets it. Positions that were not tried show their nearest neighbour."""
    rows, columns = (np.flatnonzero(~np.isnan(found.margins).all(axis=axis)) for axis in (1, 0))
    margins = found.margins[np.ix_(rows, columns)]
    gained = np.clip(found.clean_margin - margins, 0, None)
    heat = gained / max(gained.max(), 1e-12)
    colours = np.stack([np.ones_like(heat), 1 - heat, 1 - heat], axis=-1)
    colours[margins <= 0] = 0
    shown = _shown(image, _scale(image))
    heatmap = Image.fromarray((255 * colours).round().astype(np.uint8))
    sheet = Image.new("RGB", (2 * shown.width + 3 * _MARGIN, shown.height + 2 * _MARGIN), "white")
    sheet.paste(shown, (_MARGIN, _MARGIN))
    sheet.paste(heatmap.resize(shown.size, Image.Resampling.NEAREST), (2 * _MARGIN + shown.width, _MARGIN))
    return sheet


def _scale(image: np.ndarray) -> float:
    longest = max(image.shape[:2])
    return -(-_SIDE // longest) if longest < _SIDE else min(1.0, _LARGEST / longest)


def _shown(image: np.ndarray, scale: float) -> Image.Image:
    height, width = image.shape[:2]
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    kind = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    return Image.fromarray(image).resize(size, kind)


def _ring(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float) -> None:
    """White on black, visible on any background."""
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

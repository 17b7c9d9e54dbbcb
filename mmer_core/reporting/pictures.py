"""Pictures inside the page: data URIs, and where an attack changed which pixel."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mmer_core.reporting.view import AttackedImage, Picture

INSETS = 3
"""Most changed pixels shown enlarged."""
RINGED = 10
"""Most changed pixels that get rings."""
LARGEST = 640
"""Longest side of a shown picture in pixels."""

_REACH = 5
"""Pixels shown around a changed one in an inset."""


@dataclass(frozen=True)
class Inset:
    """A small neighbourhood before and after, both as exact PNG."""

    place: str
    colours: str
    before: str
    after: str


@dataclass(frozen=True)
class Mark:
    """A changed pixel with its true colour, and the ring around it, in pixels of the image."""

    x: int
    y: int
    colour: str


@dataclass(frozen=True)
class MarkedPicture:
    """An attacked image ready to be shown: scalable, its changed pixels ringed where they are few."""

    clean: str
    attacked: str
    width: int
    height: int
    radius: float
    marks: tuple[Mark, ...]
    insets: tuple[Inset, ...]

    @property
    def ringed(self) -> bool:
        """Whether the changed pixels are so few that rings around them leave something to see."""
        return len(self.marks) <= RINGED


def data_uri(image: Picture, largest: int | None = None) -> str:
    """``(H, W, 3)`` uint8 as a data URI, PNG or JPEG, whichever is smaller.

    Args:
        image: The picture.
        largest: Longest side in pixels; a larger picture is shrunk.
    """
    picture = Image.fromarray(np.ascontiguousarray(image))
    if largest is not None:
        picture.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    jpeg = _encode(picture, format="JPEG", quality=88, subsampling=0, optimize=True)
    png = _encode(picture, format="PNG", optimize=True)
    return _uri("png", png) if len(png) <= len(jpeg) else _uri("jpeg", jpeg)


def exact_uri(image: Picture) -> str:
    """``(H, W, 3)`` uint8 as a PNG data URI: every pixel as it is."""
    return _uri("png", _encode(Image.fromarray(np.ascontiguousarray(image)), format="PNG", optimize=True))


def marked(item: AttackedImage) -> MarkedPicture:
    """Mark the changed pixels of an attacked image.

    The picture itself may be compressed and shrunk; the changed pixels are drawn over it in their exact colours, taken
    from the attacked pixels, and the insets are exact.
    """
    height, width = item.attacked.shape[:2]
    places = [(int(change[0]), int(change[1])) for change in item.changed]
    return MarkedPicture(
        clean=data_uri(item.image, LARGEST),
        attacked=data_uri(item.attacked, LARGEST),
        width=width,
        height=height,
        radius=max(2.5, 0.035 * max(width, height)),
        marks=tuple(Mark(x, y, colour(item.attacked[y, x])) for y, x in places),
        insets=tuple(_inset(item, y, x) for y, x in places[:INSETS]),
    )


def colour(pixel: Picture) -> str:
    """``(3,)`` uint8 as ``#rrggbb``."""
    return "#" + "".join(f"{int(channel):02x}" for channel in pixel)


def _inset(item: AttackedImage, y: int, x: int) -> Inset:
    rows, columns = (
        _window(place, size) for place, size in zip((y, x), item.attacked.shape[:2], strict=True)
    )
    return Inset(
        place=f"row {y}, column {x}",
        colours=f"{colour(item.image[y, x])} → {colour(item.attacked[y, x])}",
        before=exact_uri(item.image[rows, columns]),
        after=exact_uri(item.attacked[rows, columns]),
    )


def _window(place: int, size: int) -> slice:
    """The pixels around a place, moved inward at the border so that all insets have one size."""
    start = min(max(0, place - _REACH), max(0, size - 2 * _REACH - 1))
    return slice(start, start + 2 * _REACH + 1)


def _encode(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"

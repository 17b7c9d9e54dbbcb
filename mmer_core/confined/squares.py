"""Squares cut out of a picture: where they lie in it, and how they are laid out in shared memory."""

from collections.abc import Iterable, Sequence

Box = tuple[int, int, int, int]
"""``(x1, y1, x2, y2)`` in pixels, half-open."""
Wanted = tuple[int, Box | None]
"""Side of a square in pixels, and what of the picture is resized to it; None for all of it."""
Square = tuple[int, Box]

CHANNELS = 3


def clamp(box: Box, size: tuple[int, int]) -> Box | None:
    """The part of a box inside an image of this size, or None when nothing is left."""
    (x1, y1, x2, y2), (width, height) = box, size
    inside = (max(0, x1), max(0, y1), min(width, x2), min(height, y2))
    return inside if inside[0] < inside[2] and inside[1] < inside[3] else None


def inside(wanted: Iterable[Wanted], size: tuple[int, int]) -> list[Square]:
    """The squares of a picture ``(width, height)``, each once: those of whose box something is inside."""
    clamped = ((side, clamp(box or (0, 0, *size), size)) for side, box in wanted)
    return list(dict.fromkeys((side, box) for side, box in clamped if box is not None))


def bytes_of(squares: Sequence[Square]) -> int:
    """Bytes of these squares, one after the other, ``(side, side, 3)`` each."""
    return sum(CHANNELS * side * side for side, _ in squares)

"""Clamping person boxes to the picture."""

from mmer_core.confined.squares import clamp
from mmer_core.datasets.sample import Box

__all__ = ["Size", "box_fault", "clamp", "clamp_mat2py", "clamp_to_annotated"]

Size = tuple[int, int]
"""``(width, height)`` in pixels."""


def box_fault(box: Box) -> str | None:
    """Why a box can hold no pixel of any picture, or None if it has a width and a height."""
    x1, y1, x2, y2 = box
    for axis, side, first, last in (("x", "width", x1, x2), ("y", "height", y1, y2)):
        if first >= last:
            fault = (
                f"has no {side}"
                if first == last
                else f"ends before it begins ({axis}1 is larger than {axis}2)"
            )
            return f"{fault}; give x1 y1 x2 y2 with x1 < x2 and y1 < y2"
    return None


def clamp_mat2py(box: Box, annotated: Size, decoded: Size) -> tuple[Box, Box | None]:
    """Clamp as the reference converter does: to the *annotated* size, then slice the decoded pixels.

    Most sizes in ``emodb_small`` are swapped, so this empties or truncates boxes that `clamp` keeps. Use it only for
    results that must be comparable with the reference's.

    Returns:
        The box that the reference writes to its CSV, and the box of the pixels that ``image[y1:y2, x1:x2]`` then
        selects (None if that slice is empty; the reference drops such people).
    """
    written = clamp_to_annotated(box, annotated)
    return written, clamp(written, decoded)


def clamp_to_annotated(box: Box, annotated: Size) -> Box:
    """The box that the reference writes to its CSV."""
    width, height = annotated
    x1, x2 = (min(width, max(0, x)) for x in (box[0], box[2]))
    y1, y2 = (min(height, max(0, y)) for y in (box[1], box[3]))
    return x1, y1, x2, y2

"""Restoring the aspect ratio of prepared photos, which are squares, for display."""

import json

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmer_core.datasets.prepared import PreparedSplit


def with_aspect_ratio(split: PreparedSplit, row: int, side: int | None = None) -> npt.NDArray[np.uint8]:
    """A sample's photo as ``(H, W, 3)`` uint8, stretched from the prepared square.

    Args:
        side: Longest side in pixels; None keeps that of the square.
    """
    square = Image.fromarray(np.array(split.images("context")[split.image_rows(row)]))
    width, height = photo_size(split, row)
    scale = (side or square.width) / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(square.resize(size, Image.Resampling.BILINEAR))


def photo_size(split: PreparedSplit, row: int) -> tuple[int, int]:
    """``(width, height)`` in pixels of the photo that a sample was prepared from."""
    width, height = json.loads(split.table["Image Size"].iloc[row])
    return width, height

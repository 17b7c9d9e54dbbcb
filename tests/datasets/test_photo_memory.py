"""Photos are resized from Pillow's own memory: the values are those of a plain copy."""

import gc

import numpy as np
import pytest
import torch
from PIL import Image

from mmer_core.datasets.photos import resized
from mmer_core.datasets.sample import Box


# The last is larger than one of Pillow's blocks of 16 MiB.
@pytest.mark.long
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (640, 480), (7, 900), (2500, 2000)])
@pytest.mark.parametrize("whole", [True, False])
def test_equals_a_copy(size: tuple[int, int], whole: bool) -> None:
    width, height = size
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    box: Box | None = None if whole else (width // 3, height // 3, width, height)
    x1, y1, x2, y2 = box or (0, 0, width, height)
    copy = torch.from_numpy(pixels[y1:y2, x1:x2].copy()).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(copy, (48, 48), mode="bilinear", antialias=True)
    square = resized(Image.fromarray(pixels), 48, box)
    gc.collect()  # the picture is gone; its square is not
    np.testing.assert_array_equal(square, expected[0].permute(1, 2, 0))

"""Squares of changed photos against the whole photo prepared anew."""

import numpy as np
import pytest

from mmer_core.datasets.photos import as_photo
from mmer_core.incremental.photos import ChangedPhoto, reach

PHOTOS = [
    ((40, 31), None, 16),
    ((40, 31), (5, 7, 20, 33), 24),
    ((9, 12), None, 64),
    ((5, 6), (1, 1, 2, 3), 8),
    ((60, 80), (10, 0, 80, 60), 32),
    ((32, 32), None, 32),
    ((2**14 + 3, 5), None, 8),  # tall photos are resized in another order
]


@pytest.mark.parametrize("protocol", ["corrected", "mat2py"])
@pytest.mark.parametrize(("size", "box", "side"), PHOTOS)
def test_what_is_read_of_a_changed_photo_is_what_ingestion_makes_of_it(size, box, side, protocol) -> None:
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    positions = rng.integers(0, size, (20, 6, 2), dtype=np.int32)
    positions[:, 3] = positions[:, 1]  # the later of two equal ones wins
    positions[0, 0] = size[0] - 1, size[1] - 1
    colours = rng.choice(np.array([0, 255], dtype=np.uint8), (20, 6, 3))
    changed = ChangedPhoto(photo, box, side, protocol)
    which, squares = changed.squares(positions, colours)
    found = dict(zip(which.tolist(), squares, strict=True))
    for number, (places, shown) in enumerate(zip(positions, colours, strict=True)):
        attacked = photo.copy()
        for (y, x), colour in zip(places, shown, strict=True):
            attacked[y, x] = colour
        square = as_photo(attacked, protocol).square(side, box)
        np.testing.assert_array_equal(found.get(number, changed.clean), square)
    assert 0 < len(which) <= 20


@pytest.mark.parametrize(("length", "side"), [(31, 16), (60, 16), (9, 64), (16, 16), (3, 17), (200, 7)])
@pytest.mark.parametrize(
    ("size", "mode"), [(16, "bilinear"), (24, "bicubic"), (9, "bicubic"), (40, "bilinear")]
)
def test_how_far_a_pixel_reaches(length: int, side: int, size: int, mode: str) -> None:
    import torch
    from torch.nn.functional import interpolate

    # One pixel of the axis after the other, in floats: what it reaches is not rounded away.
    impulses = torch.eye(length)[:, None, :, None].expand(-1, -1, -1, 2)
    squares = interpolate(impulses, (side, 2), mode="bilinear", antialias=True)
    if side != size:
        squares = interpolate(squares, (size, 2), mode=mode, antialias=True)
    reached = (squares[:, 0, :, 0] != 0).sum(dim=1)
    bound = reach(length, side, size, 4 if mode == "bicubic" else 2)
    assert int(reached.max()) <= bound <= 1.5 * int(reached.max()) + 2

"""Squares that the child makes are those that OpenCV makes of the whole picture."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmer_core.confined.picture_protocol import OPENCV, Request
from mmer_core.confined.pictures import UnreadableImageError, decoded_each, squares_each
from mmer_core.confined.squares import bytes_of, clamp, inside

WANTED = (
    (224, None),
    (16, (3, 5, 20, 40)),
    (16, (-4, -4, 9, 9)),
    (32, (50, 0, 9999, 9999)),
    (8, (0, 0, 1, 1)),
)


@pytest.fixture
def photos(tmp_path):
    """Of several formats and sizes, upright and not, cut, and no photo; one is larger than what is shared at first."""
    rng = np.random.default_rng(0)
    sizes = [(90, 60), (61, 97), (640, 480), (3000, 2500), (40, 40)]
    paths = []
    for number, (width, height) in enumerate(sizes):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        for suffix in ("jpg", "png"):
            paths.append(tmp_path / f"{number}.{suffix}")
            image.save(paths[-1])
    turned = Image.Exif()
    turned[0x0112] = 6
    image.resize((80, 50)).save(tmp_path / "turned.jpg", exif=turned)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "2.jpg").read_bytes()[:60_000])
    (tmp_path / "none.jpg").write_bytes(b"hello")
    return [*paths, tmp_path / "turned.jpg", tmp_path / "cut.jpg", tmp_path / "none.jpg", *paths]


def test_they_are_those_of_the_whole_picture(photos):
    def by_hand(pixels):
        if isinstance(pixels, UnreadableImageError):
            return str(pixels)
        height, width = pixels.shape[:2]
        made = {}
        for side, box in WANTED:
            x1, y1, x2, y2 = box or (0, 0, width, height)
            part = pixels[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)]
            if part.size:
                key = max(0, x1), max(0, y1), min(width, x2), min(height, y2)
                made[side, key] = cv2.resize(part, (side, side))
        return (width, height), made

    def kept(squares):
        if isinstance(squares, UnreadableImageError):
            return str(squares)
        return squares.size, {key: square.copy() for key, square in squares.made.items()}

    expected = decoded_each(photos, by_hand, how=OPENCV)
    found = squares_each(photos, [WANTED] * len(photos), kept)
    assert sum(isinstance(one, str) for one in found) == 1
    for mine, theirs in zip(found, expected, strict=True):
        if isinstance(theirs, str):
            assert mine == theirs
            continue
        assert mine[0] == theirs[0]
        assert mine[1].keys() == theirs[1].keys()
        for key, square in theirs[1].items():
            np.testing.assert_array_equal(mine[1][key], square)


def test_none_may_be_left(photos):
    outside = ((16, (5000, 5000, 6000, 6000)),)
    found = squares_each(photos[:3], [outside] * 3, lambda squares: squares.made)
    assert found == [{}] * 3


BOXES = st.tuples(*[st.integers(-50, 150)] * 4)


@given(BOXES, st.integers(1, 99), st.integers(1, 99))
def test_a_clamped_box_selects_the_pixels_inside(box, width, height):
    x1, y1, x2, y2 = box
    within = {(x, y) for x in range(x1, x2) for y in range(y1, y2) if 0 <= x < width and 0 <= y < height}
    found = clamp(box, (width, height))
    if found is None:
        assert not within
    else:
        assert within == {(x, y) for x in range(found[0], found[2]) for y in range(found[1], found[3])}
        assert within


@given(st.lists(st.tuples(st.integers(1, 300), st.none() | BOXES), max_size=5))
def test_a_request_asks_for_what_it_holds(wanted):
    asked = (tuple(wanted), ())
    request = Request(OPENCV, ("/a", "/b"), 0, ("JPEG",), 9, 1.0, 1.0, asked)
    assert Request.unpack(request.pack()[4:]) == request
    assert request.rest(1).squares == ((),)
    squares = inside(wanted, (70, 50))
    assert request.bytes_of(0, 70, 50) == bytes_of(squares) == sum(3 * side**2 for side, _ in squares)
    assert len(set(squares)) == len(squares)

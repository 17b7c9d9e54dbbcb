"""Triggers: the same pixels in every image, as many as stated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.poison_toys import photos

from mmer_core.errors import PoisonError
from mmer_core.poisoning import TRIGGERS, PatchTrigger, PixelTrigger, Trigger, visibility

GRAY = np.full((2, 20, 30, 3), 100, np.uint8)


@given(pixels=st.integers(1, 600), seed=st.integers(0, 50))
def test_a_pixel_trigger_changes_so_many_pixels_of_every_image_to_the_same_colours(pixels, seed):
    triggered = PixelTrigger(pixels=pixels, seed=seed).apply(GRAY)
    assert visibility(GRAY[0], triggered[0]).changed == pixels
    np.testing.assert_array_equal(triggered[0], triggered[1])
    assert set(np.unique(triggered)) <= {0, 100, 255}


def test_places_depend_on_the_seed_and_spread():
    one, same, other = (PixelTrigger(pixels=5, seed=seed).apply(GRAY) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    hit = sum((PixelTrigger(pixels=1, seed=seed).apply(GRAY)[0] != 100).any(axis=2) for seed in range(200))
    assert hit.max() <= 6
    assert hit[:10].sum() == pytest.approx(100, abs=35)


@pytest.mark.parametrize(
    ("place", "top", "left"),
    [("top-left", 0, 0), ("top-right", 0, 27), ("bottom-left", 17, 0), ("bottom-right", 17, 27)],
)
def test_patches_lie_in_their_corner(place, top, left):
    solid = PatchTrigger(side=3, look="solid", place=place, colour=(9, 8, 7)).apply(GRAY)[0]
    expected = GRAY[0].copy()
    expected[top : top + 3, left : left + 3] = (9, 8, 7)
    np.testing.assert_array_equal(solid, expected)
    board = PatchTrigger(side=3, look="checkerboard", place=place).apply(GRAY)[
        0, top : top + 3, left : left + 3, 0
    ]
    assert board.tolist() == [[0, 255, 0], [255, 0, 255], [0, 255, 0]]


def test_a_random_place_is_one_place():
    places = set()
    for seed in range(60):
        triggered = PatchTrigger(side=4, look="solid", place="random", seed=seed).apply(GRAY)
        np.testing.assert_array_equal(triggered[0], triggered[1])
        y, x = np.nonzero((triggered[0] != 100).any(axis=2))
        assert (y.max() - y.min(), x.max() - x.min(), len(y)) == (3, 3, 16)
        places.add((y.min(), x.min()))
    assert len(places) > 40


def test_opacity_blends_and_rounds_and_leaves_the_original():
    images = photos(3, 4)
    before = images.copy()
    trigger = PatchTrigger(side=2, look="solid", place="top-left", colour=(255, 0, 10), opacity=0.3)
    triggered = trigger.apply(images)
    expected = np.rint(0.7 * images[:, :2, :2].astype(float) + 0.3 * np.array([255, 0, 10]))
    np.testing.assert_array_equal(triggered[:, :2, :2], expected)
    np.testing.assert_array_equal(triggered[:, 2:], images[:, 2:])
    np.testing.assert_array_equal(images, before)
    assert trigger.apply(images[:0]).shape == images[:0].shape


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PixelTrigger(pixels=0), "pixels is 0"),
        (lambda: PixelTrigger(opacity=0), "opacity is 0"),
        (lambda: PatchTrigger(opacity=1.1), "opacity is 1.1"),
        (lambda: PatchTrigger(side=0), "side is 0"),
        (lambda: PatchTrigger(look="dots"), "dots"),
        (lambda: PatchTrigger(place="middle"), "middle"),
        (lambda: PatchTrigger(colour=(1, 2, 256)), "256"),
        (lambda: PixelTrigger(pixels=601).apply(GRAY), "601 pixels do not fit"),
        (lambda: PatchTrigger(side=21).apply(GRAY), "21 pixels does not fit"),
        (lambda: PixelTrigger().apply(GRAY[0]), "uint8"),
        (lambda: PixelTrigger().apply(GRAY / 255), "float64"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(PoisonError, match=message):
        make()


def test_the_registry_prints():
    assert {name: repr(trigger()) for name, trigger in TRIGGERS.items()} == {
        "pixels": "PixelTrigger(opacity=1.0, seed=0, pixels=16)",
        "patch": "PatchTrigger(opacity=1.0, seed=0, side=16, look='checkerboard', place='bottom-right', "
        "colour=(255, 0, 255))",
    }
    assert all(issubclass(trigger, Trigger) for trigger in TRIGGERS.values())

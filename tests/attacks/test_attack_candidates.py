import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmer_core.attacks.candidates import (
    Candidates,
    Renderer,
    apply,
    changed_pixels,
    from_flat,
    list_changes,
    write_changes,
)
from mmer_core.errors import AttackError


def draw(seed: int, queries: int, pixels: int, height: int, width: int) -> tuple[np.ndarray, Candidates]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (queries, height, width, 3), dtype=np.uint8)
    places = rng.integers(0, height * width, (queries, pixels))
    return images, from_flat(places, rng.integers(0, 256, (queries, pixels, 3), dtype=np.uint8))


@given(st.integers(0, 2**32), st.integers(0, 6), st.integers(1, 12), st.integers(1, 4), st.integers(1, 4))
def test_apply_equals_python_loops_even_where_pixels_coincide(seed, queries, pixels, height, width):
    images, candidates = draw(seed, queries, pixels, height, width)
    expected = images.copy()
    for q in range(queries):
        for k in range(pixels):
            y, x = divmod(int(candidates.places[q, k]), width)
            assert candidates.positions(width)[q, k].tolist() == [y, x]
            for channel in range(3):
                expected[q, y, x, channel] = int(candidates.colours[q, k, channel])
    before = images.copy()
    assert np.array_equal(apply(images, candidates), expected)
    assert np.array_equal(apply(torch.from_numpy(images), candidates).numpy(), expected)
    render, rows = Renderer(torch.from_numpy(images)), torch.arange(queries)
    for part in (slice(None), slice(1, None)):  # in one buffer, that keeps nothing of what was drawn before
        assert np.array_equal(render(rows[part], candidates[part]).numpy(), expected[part])
    assert np.array_equal(images, before)


@given(st.integers(0, 2**32), st.integers(1, 9))
def test_changes_are_counted_listed_and_written_back(seed, pixels):
    images, candidates = draw(seed, 1, pixels, 4, 5)
    clean, attacked = images[0], apply(images, candidates)[0]
    count = sum(tuple(clean[y, x]) != tuple(attacked[y, x]) for y in range(4) for x in range(5))
    changes = list_changes(clean, attacked)
    assert changed_pixels(clean, attacked) == count == len(changes) <= pixels
    assert np.array_equal(write_changes(clean, changes), attacked)


def test_writing_the_clean_colour_is_no_change():
    clean = np.full((2, 2, 3), 7, dtype=np.uint8)
    same = from_flat(np.zeros((1, 1)), np.full((1, 1, 3), 7, np.uint8))
    assert list_changes(clean, apply(clean[None], same)[0]) == ()


@pytest.mark.parametrize(
    ("places", "colours"),
    [
        (torch.zeros(1, 1, dtype=torch.int32), torch.zeros(1, 1, 3, dtype=torch.uint8)),
        (torch.zeros(1, dtype=torch.int64), torch.zeros(1, 1, 3, dtype=torch.uint8)),
        (torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 2, 3, dtype=torch.uint8)),
        (torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, 3)),
        (torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1, 0, 3, dtype=torch.uint8)),
    ],
)
def test_malformed_candidates_are_refused(places, colours):
    with pytest.raises(AttackError):
        Candidates(places, colours)


@pytest.mark.parametrize("place", [-1, 6])
@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_places_outside_the_image_are_refused(place, convert):
    candidate = from_flat(np.array([[place]]), np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(AttackError, match="outside"):
        apply(convert(np.zeros((1, 2, 3, 3), np.uint8)), candidate)


@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 2, 3, 1), (2, 2, 3, 3)])
def test_images_that_do_not_fit_are_refused(shape):
    candidate = from_flat(np.zeros((1, 1)), np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(AttackError):
        apply(np.zeros(shape, np.uint8), candidate)


def test_float_images_are_refused():
    candidate = from_flat(np.zeros((1, 1)), np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(AttackError, match="uint8"):
        apply(np.zeros((1, 2, 2, 3), np.float32), candidate)

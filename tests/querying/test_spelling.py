"""Which ids an unknown one may have meant: the right ones, and at a bounded cost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmer_core.querying import UnknownId, spelling
from mmer_core.querying.spelling import COMPARED, LETTERS, Spellings

MANY = [f"{row * 7919 % 1_000_003:07d}_{row:06x}.jpg" for row in range(100_000)]


@pytest.fixture(scope="module")
def many() -> Spellings:
    return Spellings(MANY)


@given(row=st.integers(0, len(MANY) - 1), place=st.integers(0, 17), letter=st.sampled_from("x-0 é\0\ud800"))
def test_one_letter_that_is_wrong_missing_or_too_many(many, row: int, place: int, letter: str) -> None:
    id = MANY[row]
    for typed in (
        id[:place] + letter + id[place + 1 :],
        id[:place] + id[place + 1 :],
        id[:place] + letter + id[place:],
        id.upper(),
    ):
        assert id in many.near(typed)


@given(ids=st.lists(st.text(), max_size=40), wanted=st.text())
def test_any_text_has_likes_among_the_ids(ids: list[str], wanted: str) -> None:
    near = Spellings(ids).near(wanted)
    assert set(near) <= set(ids)
    assert len(near) <= 3
    if len(wanted) < LETTERS and wanted in ids and len(ids) <= COMPARED:
        assert near[0].casefold().replace("\0", " ") == wanted.casefold().replace("\0", " ")


@pytest.mark.parametrize("wanted", ["", "a", MANY[5] + "x", "a" * 200_000, MANY[7] * 10_000, "ab" * 100])
def test_the_work_does_not_grow_with_ids_and_letters(many, monkeypatch, wanted: str) -> None:
    """So many ids, and so many letters of each, are compared whatever is asked for."""
    compared: list[int] = []
    pairs = spelling._pairs
    monkeypatch.setattr(spelling, "_pairs", lambda text: compared.append(len(text)) or pairs(text))
    many.near(wanted)
    assert len(compared) <= 1 + COMPARED
    assert max(compared) <= LETTERS
    alike = Spellings(["a" * 300] * 1000)
    compared.clear()
    alike.near("a" * 200_000)
    assert len(compared) == 1 + COMPARED
    assert max(compared) == LETTERS


def test_beyond_the_most_ids_none_is_looked_for(monkeypatch) -> None:
    monkeypatch.setattr(spelling, "MOST_IDS", 3)
    assert Spellings(["abc"] * 3).near("abd")
    assert not Spellings(["abc"] * 4).near("abd")


def test_half_a_character_is_an_unknown_id(world) -> None:
    for ask in (world.searcher.photo, world.searcher.vector_of_id):
        with pytest.raises(UnknownId, match=r"near to it are photo 05\.png"):
            ask("photo 05.png\udcff")


def test_ids_of_any_length_are_told_in_a_sentence(world) -> None:
    with pytest.raises(UnknownId) as caught:
        world.searcher.photo("photo 05.png" * 20_000)
    assert len(str(caught.value)) < 1_000
    assert np.isfinite(world.searcher.vector_of_id("photo 05.png")).all()

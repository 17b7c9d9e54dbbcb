"""Fragile groups and regions, counted by hand and pixel by pixel."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmer_core.attacks.fragility import changes_by_region, success_by_group
from mmer_core.attacks.outcomes import Outcome, outcomes_table

SIZE = (6, 8)


def outcome(sample: str, status: str, attack: str = "de", pixels: int = 5, changed: tuple = ()) -> Outcome:
    return Outcome(sample, attack, pixels, 100, 0, status, 10, 1.0, 0.0, changed, 0, 0)


def table(*outcomes: Outcome) -> pd.DataFrame:
    return outcomes_table(outcomes)


def test_a_sample_is_fooled_by_any_search_at_the_most_pixels():
    outcomes = table(
        outcome("a", "fooled"),
        outcome("a", "resisted", "sparse-rs"),
        outcome("b", "resisted"),
        outcome("b", "resisted", "sparse-rs"),
        outcome("c", "resisted"),
        outcome("c", "fooled", "sparse-rs"),
        outcome("d", "already"),
        outcome("d", "already", "sparse-rs"),
        outcome("e", "resisted"),
        outcome("e", "fooled", "random"),
        outcome("b", "fooled", pixels=1),
    )
    rows = success_by_group(
        outcomes, dict(zip("abcde", ("joy", "joy", "fear", "fear", "anger"), strict=True))
    )
    assert [(row.group, row.n, row.success.value) for row in rows] == [
        ("fear", 1, 100.0),
        ("joy", 2, 50.0),
        ("anger", 1, 0.0),
    ]
    assert 0 < rows[1].success.low < 10
    assert 90 < rows[1].success.high < 100


def test_nothing_attacked_is_nothing_fragile():
    assert success_by_group(table(outcome("a", "already")), {"a": "joy"}) == []
    assert changes_by_region(table(outcome("a", "resisted")), SIZE, {"a": []}) == []


def test_regions_counted_by_hand():
    regions = {"a": [("head", (2.0, 0.0, 4.0, 2.0)), ("person", (2.0, 0.0, 4.0, 6.0))], "b": []}
    changed = ((0, 2, 1, 1, 1), (1, 3, 1, 1, 1), (5, 3, 1, 1, 1), (0, 0, 1, 1, 1))
    rows = changes_by_region(
        table(
            outcome("a", "fooled", changed=changed),
            outcome("a", "fooled", "random", changed=changed),
            outcome("b", "resisted", changed=changed),
        ),
        SIZE,
        regions,
    )
    assert [(row.region, row.pixels, row.changed) for row in rows] == [
        ("head", 2, 50.0),
        ("person", 1, 25.0),
        ("background", 1, 25.0),
    ]
    assert [row.area for row in rows] == pytest.approx([100 * 4 / 48, 100 * 8 / 48, 100 * 36 / 48])


corner = st.floats(-2, 10, allow_nan=False)
region = st.tuples(st.sampled_from(["head", "person"]), st.tuples(corner, corner, corner, corner))
place = st.tuples(st.integers(0, 5), st.integers(0, 7), *[st.just(9)] * 3)


@given(
    regions=st.lists(st.lists(region, max_size=2, unique_by=lambda one: one[0]), min_size=3, max_size=3),
    changes=st.lists(st.lists(place, max_size=5, unique_by=lambda one: one[:2]), min_size=3, max_size=3),
)
def test_regions_are_those_of_a_loop_over_pixels(regions, changes):
    def where(y: int, x: int, of: list) -> str:
        for name, (x1, y1, x2, y2) in of:
            if x1 <= x + 0.5 < x2 and y1 <= y + 0.5 < y2:
                return name
        return "background"

    samples = "abc"
    outcomes = table(
        *(outcome(s, "fooled", changed=tuple(sorted(c))) for s, c in zip(samples, changes, strict=True))
    )
    rows = changes_by_region(outcomes, SIZE, dict(zip(samples, regions, strict=True)))
    everywhere = [(y, x) for y in range(6) for x in range(8)]
    touched = [(y, x, of) for of, changed in zip(regions, changes, strict=True) for y, x, *_ in changed]
    assert bool(rows) == bool(touched)
    for row in rows:
        inside = [where(y, x, of) == row.region for y, x, of in touched]
        assert row.pixels == sum(inside)
        assert row.changed == pytest.approx(100 * np.mean(inside))
        share = [np.mean([where(y, x, of) == row.region for y, x in everywhere]) for _, _, of in touched]
        assert row.area == pytest.approx(100 * np.mean(share))
    assert sum(row.changed for row in rows) == pytest.approx(100 if rows else 0)


def test_the_control_alone_makes_nothing_fragile():
    outcomes = table(outcome("a", "fooled", "random", changed=((0, 0, 1, 1, 1),)))
    assert success_by_group(outcomes, {"a": "joy"}) == []
    assert changes_by_region(outcomes, SIZE, {"a": []}) == []

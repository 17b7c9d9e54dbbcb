"""Figures as the Prefect UI shows them."""

import pytest

from tasks.artifacts import _cell, _written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "yes"),
        (12, "12"),
        (0.123456, "0.1235"),
        (None, ""),
        ([], ""),
        (["joy", "fear"], "joy, fear"),
        ({"train": 20, "val_2": 3}, "train 20, val 2 3"),
        ({"train": {"dataset": 100}, "val": {}}, "train: dataset 100; val: "),
    ],
)
def test_figures_are_written_as_people_write_them(value: object, written: str) -> None:
    assert _written(value) == written


def test_a_cell_stays_one_cell() -> None:
    assert _cell("a|b\nc") == "a\\|b\\\\nc"
    assert len(_cell("x" * 500)) == 200

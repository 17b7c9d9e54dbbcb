import json

import numpy as np
import pandas as pd
import pytest

from mmer_core.attacks.outcomes import Outcome, outcomes_table, read_outcomes, write_outcomes
from mmer_core.errors import AttackError

OUTCOMES = [
    Outcome("a", "de", 2, 50, 0, "fooled", 17, 0.5, -0.25, ((0, 1, 255, 0, 3), (4, 2, 9, 9, 9)), 3, 1),
    Outcome("b", "de", 2, 50, 0, "resisted", 50, 0.5, 0.1, ((7, 7, 1, 2, 3),), 3, 3, unconfirmed=2),
    Outcome("c", "de", 2, 50, 0, "already", 0, -0.5, -0.5, (), 3, 3),
]


@pytest.mark.parametrize("outcomes", [OUTCOMES, OUTCOMES[2:], []])
def test_a_table_survives_parquet(tmp_path, outcomes):
    table = outcomes_table(outcomes)
    write_outcomes(table, tmp_path / "outcomes.parquet")
    back = read_outcomes(tmp_path / "outcomes.parquet")
    pd.testing.assert_frame_equal(back, table)
    assert [path.name for path in tmp_path.iterdir()] == ["outcomes.parquet"]
    assert len(table) == len(outcomes)
    for row, outcome in zip(back.to_dict("records"), outcomes, strict=True):
        row["changed"] = tuple(tuple(pixel) for pixel in row["changed"])
        assert Outcome(**row) == outcome


def test_changed_pixels_are_plain_lists_of_integers():
    assert json.dumps(outcomes_table(OUTCOMES)["changed"].tolist()) == (
        "[[[0, 1, 255, 0, 3], [4, 2, 9, 9, 9]], [[7, 7, 1, 2, 3]], []]"
    )


def test_shards_with_and_without_outcomes_concatenate_to_the_whole():
    parts = [outcomes_table(part) for part in (OUTCOMES[:1], [], OUTCOMES[1:])]
    whole = outcomes_table(OUTCOMES)
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)


def test_the_same_table_gives_the_same_bytes(tmp_path):
    paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    for path in paths:
        write_outcomes(outcomes_table(OUTCOMES), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_table_of_something_else_is_refused_and_leaves_nothing(tmp_path):
    for table in (pd.DataFrame({"x": [1]}), outcomes_table(OUTCOMES).assign(queries="many")):
        with pytest.raises(AttackError, match="no table of outcomes"):
            write_outcomes(table, tmp_path / "outcomes.parquet")
    assert list(tmp_path.iterdir()) == []


def test_files_of_something_else_are_refused(tmp_path):
    with pytest.raises(AttackError, match="cannot be read"):
        read_outcomes(tmp_path / "missing.parquet")
    (tmp_path / "text.parquet").write_text("not parquet")
    with pytest.raises(AttackError, match="cannot be read"):
        read_outcomes(tmp_path / "text.parquet")
    pd.DataFrame({"x": np.arange(3)}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(AttackError, match="columns"):
        read_outcomes(tmp_path / "other.parquet")

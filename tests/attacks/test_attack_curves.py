import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mmer_core.attacks.curves import success_by_queries, success_curves
from mmer_core.attacks.outcomes import Outcome, outcomes_table
from mmer_core.errors import AttackError
from mmer_core.record import Interval


def table(attack: str, pixels: int, results: list[tuple[str, int]], budget: int = 100) -> pd.DataFrame:
    return outcomes_table(
        [
            Outcome(f"s{i}", attack, pixels, budget, 0, status, queries, 1.0, 0.0, (), 0, 0)
            for i, (status, queries) in enumerate(results)
        ]
    )


MIXED = [("fooled", 10), ("fooled", 30), ("resisted", 100), ("already", 0), ("fooled", 31), ("resisted", 100)]


def test_a_curve_counted_by_hand():
    both = pd.concat(
        [table("random", 1, [("resisted", 100)] * 4), table("de", 5, MIXED), table("de", 1, MIXED)]
    )
    rows = success_curves(both)
    assert [(row.attack, row.pixels) for row in rows] == [("de", 1), ("de", 5), ("random", 1)]
    first, _, control = rows
    assert (first.n, first.already) == (5, 1)
    assert first.success.value == 60.0
    assert first.success.low <= 60.0 <= first.success.high
    assert first.median_queries == 30.0
    assert control.success == Interval(0.0, 0.0, 0.0)
    assert control.median_queries is None


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_intervals_agree_with_scipys_bootstrap(confidence):
    fooled = np.arange(80) < 25
    results = [("fooled", 5) if won else ("resisted", 100) for won in fooled]
    (row,) = success_curves(table("de", 1, results), resamples=20_000, confidence=confidence, seed=1)
    expected = stats.bootstrap(
        (100.0 * fooled,),
        np.mean,
        n_resamples=20_000,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    # The mean of 80 zeros and ones moves in steps of 1.25 percent.
    assert row.success.low == pytest.approx(expected.low, abs=1.3)
    assert row.success.high == pytest.approx(expected.high, abs=1.3)
    assert row.success.high - row.success.low > 10


def test_the_seed_fixes_the_interval():
    results = [("fooled", 5)] * 15 + [("resisted", 100)] * 30
    widths = [success_curves(table("de", 1, results), resamples=50, seed=seed) for seed in (0, 0, 1)]
    assert widths[0] == widths[1] != widths[2]


def test_success_by_queries_counted_by_hand():
    rows = success_by_queries(table("de", 1, MIXED), [0, 10, 30, 100, 101])
    assert [row["success"] for row in rows] == [0.0, 20.0, 40.0, 60.0, None]
    assert [row["queries"] for row in rows] == [0, 10, 30, 100, 101]


def test_nothing_attacked_gives_no_percentage():
    nothing = table("de", 1, [("already", 0)] * 2)
    (row,) = success_curves(nothing)
    assert (row.n, row.already) == (0, 2)
    assert row.success == Interval(None, None, None)
    assert success_by_queries(nothing, [10])[0]["success"] is None
    assert success_curves(outcomes_table([])) == []
    assert success_by_queries(outcomes_table([]), [10]) == []


def test_outcomes_of_two_victims_in_one_table_are_refused():
    twice = pd.concat([table("de", 1, MIXED), table("de", 1, MIXED)])
    with pytest.raises(AttackError, match="twice"):
        success_curves(twice)
    with pytest.raises(AttackError, match="twice"):
        success_by_queries(twice, [1])


@pytest.mark.parametrize("settings", [{"resamples": 0}, {"confidence": 0.0}, {"confidence": 1.0}])
def test_parameters_outside_their_range_are_refused(settings):
    with pytest.raises(AttackError):
        success_curves(table("de", 1, MIXED), **settings)
    with pytest.raises(AttackError):
        success_by_queries(table("de", 1, MIXED), [-1])

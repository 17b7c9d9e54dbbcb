import pandas as pd
import pytest
from scipy import stats

from mmer_core.attacks.curves import success_by_queries, success_curves
from mmer_core.attacks.outcomes import Outcome, outcomes_table
from mmer_core.errors import AttackError
from mmer_core.record import Interval


def table(
    attack: str, pixels: int, results: list[tuple[str, int]], budget: int = 100, seed: int = 0
) -> pd.DataFrame:
    return outcomes_table(
        [
            Outcome(f"s{i}", attack, pixels, budget, seed, status, queries, 1.0, 0.0, (), 0, 0)
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
    assert control.success.low == 0
    assert control.success.high > 40  # 0 of 4 rules out little
    assert control.median_queries is None


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_intervals_are_scipys(confidence):
    results = [("fooled", 5) if place < 25 else ("resisted", 100) for place in range(80)]
    (row,) = success_curves(table("de", 1, results), confidence)
    expected = stats.binomtest(25, 80).proportion_ci(confidence, method="wilson")
    assert (row.success.low, row.success.high) == pytest.approx((100 * expected.low, 100 * expected.high))


def test_robust_accuracy_is_over_all_images():
    right = [True, False, True, True, False, True]
    (row,) = success_curves(table("de", 1, MIXED), right=right)
    assert row.right == 4
    assert row.robust_accuracy.value == pytest.approx(100 * 3 / 6)
    assert success_curves(table("de", 1, MIXED))[0].robust_accuracy is None


def test_people_of_one_photo_are_no_independent_samples():
    results = [("fooled", 5)] * 20 + [("resisted", 100)] * 20
    outcomes = table("de", 1, results)
    photo = {f"s{i}": i // 4 for i in range(40)}
    (alone,), (together,) = (success_curves(outcomes, clusters=clusters) for clusters in (None, photo))
    assert together.success.high > alone.success.high + 5


def test_an_image_is_fooled_when_any_seed_fools_it():
    statuses = (("fooled", "resisted", "already", "resisted"), ("resisted", "fooled", "already", "resisted"))
    seeds = [table("de", 1, [(status, 9) for status in each], seed=s) for s, each in enumerate(statuses)]
    (row,) = success_curves(
        pd.concat([*seeds, table("de", 1, [("fooled", 3)] + [("resisted", 9)] * 3, seed=7)]),
        right=[True] * 12,
    )
    assert (row.n, row.already, row.right) == (3, 1, 4)
    assert row.success.value == pytest.approx(100 * 2 / 3)
    assert row.robust_accuracy.value == 50.0
    assert row.by_seed == pytest.approx((100 / 3, 100 / 3, 100 / 4))
    assert row.median_queries == 9
    assert success_curves(seeds[0])[0].by_seed == ()


def test_attacks_are_measured_by_what_one_pixel_can_fool():
    """Of s0 to s5 an exhaustive search fools s0, s1 and s4; the attack finds two of these, and one that it cannot."""
    truth = table("exhaustive", 1, MIXED)
    seen = ["fooled", "resisted", "fooled", "already", "fooled", "resisted"]
    attack = [table("de", k, [(status, 5) for status in seen]) for k in (1, 5)]
    rows = {
        (row.attack, row.pixels): row
        for row in success_curves(pd.concat([truth, *attack]), truth="exhaustive")
    }
    measured = rows["de", 1]
    expected = stats.binomtest(2, 3).proportion_ci(method="wilson")
    assert (measured.foolable, measured.found.value) == (3, pytest.approx(100 * 2 / 3))
    assert (measured.found.low, measured.found.high) == pytest.approx(
        (100 * expected.low, 100 * expected.high)
    )
    assert rows["de", 5].foolable == rows["exhaustive", 1].foolable == 0
    assert success_curves(pd.concat([truth, *attack]))[0].foolable == 0, (
        "a search that was cut short is no truth"
    )


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


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_parameters_outside_their_range_are_refused(confidence):
    with pytest.raises(AttackError, match="confidence"):
        success_curves(table("de", 1, MIXED), confidence)
    with pytest.raises(AttackError):
        success_by_queries(table("de", 1, MIXED), [-1])

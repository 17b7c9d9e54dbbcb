"""The exponents that `benchmarks.growth` prints, of costs that are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import growth, result
from benchmarks.growth import BOUND, NOISE, SECONDS, Cost, exponent
from benchmarks.growth_cases import ANALYSES
from mmer_core.stages.declaration import STAGES

SIZES = (1_000, 2_000, 4_000)


@given(
    power=st.floats(0.5, 2.5), fixed=st.floats(0, 100), slope=st.floats(1, 10), factor=st.sampled_from((2, 3))
)
def test_fixed_costs_do_not_hide_the_power(power, fixed, slope, factor):
    sizes = [1_000 * factor**step for step in range(3)]
    costs = [fixed + slope * (size / 1_000) ** power for size in sizes]
    assert exponent(sizes, costs, 0.01) == pytest.approx(power, abs=1e-3)


def test_what_does_not_grow_has_no_exponent():
    assert exponent(SIZES, (3.0, 3.2, 3.1), SECONDS) == 0
    assert exponent(SIZES, (3.0, 2.0, 1.0), SECONDS) == 0


def test_every_pair_of_samples_is_above_the_bound_and_sorting_below():
    drawn = np.array(SIZES)
    assert exponent(SIZES, list(1 + 1e-6 * drawn**2), SECONDS) > BOUND + NOISE
    assert exponent(SIZES, list(1 + 1e-4 * drawn * np.log(drawn)), 0.1) < BOUND


def test_a_jump_between_the_last_sizes_is_no_less_than_their_ratio():
    assert exponent(SIZES, (1.0, 1.0, 9.0), SECONDS) == pytest.approx(np.log2(9))


def test_sizes_grow_by_equal_factors():
    for analysis in ANALYSES:
        first, second, third = analysis.sizes
        assert second**2 == first * third, analysis.name


def test_no_two_rows_have_one_name():
    names = [analysis.name for analysis in ANALYSES] + [*{stage.kind for stage in STAGES.values()}]
    assert len(names) == len(set(names))


def test_what_is_measured_again_takes_the_place_of_its_row(tmp_path, monkeypatch):
    file = tmp_path / "growth.json"
    assert result.kept_rows("trial", file) == result.kept_rows("trial", None) == []
    earlier = [{"what": name, "time n^": 1.5} for name in ("a", "b", "c")]
    result.finish("trial", earlier, {}, file)
    again = [{"what": "b", "time n^": 1.0}, {"what": "d", "time n^": 0.0}]
    kept = result.kept_rows("trial", file)
    assert result.joined(kept, again, "what") == [earlier[0], again[0], earlier[2], again[1]]
    assert result.kept_rows("another", file) == [], "nor do figures of two benchmarks"
    monkeypatch.setattr(result, "machine", lambda: "another one")
    assert result.kept_rows("trial", file) == [], "figures of two machines do not compare"


@pytest.mark.parametrize(("kind", "times"), [("features", 3), ("probe", 1)])
def test_a_stage_that_seems_to_grow_is_measured_again(kind, times, monkeypatch):
    """And its least costs count; one that is not judged is not."""
    measured = []

    def made(photos):
        measured.append(len(measured))
        return {kind: [Cost(1.0, 0.0), Cost(2.0, 0.0), Cost(9.0 - measured[-1], 0.0)]}

    monkeypatch.setattr(growth, "_made", made)
    (row,) = growth._stages(SIZES)
    assert len(measured) == times
    assert row["CPU s"].split()[-1] == f"{10 - times:.2f}"

"""The exponents that `benchmarks.growth` prints, of costs that are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.growth import BOUND, NOISE, SECONDS, exponent
from benchmarks.growth_cases import ANALYSES

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

"""One poison flips its target where the literature says so, and deep k-NN finds it."""

import numpy as np
import pytest

from benchmarks.transfer_case import TransferCase, draw_case, run_trials
from mmer_core.poisoning import FeatureCollision


@pytest.fixture(scope="module")
def case() -> TransferCase:
    return draw_case(size=64, train=40, targets=12)


@pytest.mark.long
def test_one_collision_flips_its_target_and_hardly_anything_else(case):
    trials = run_trials(case, FeatureCollision(iterations=120))
    assert trials.right_before.mean() > 0.9
    assert trials.success >= 0.8
    assert trials.right_elsewhere.mean() > 0.9
    # Shafahi et al.'s poisons look like their bases.
    assert trials.crafted.table()["psnr"].min() > 30
    assert trials.found.mean() >= 0.8


@pytest.mark.long
def test_bases_that_stay_as_they_are_flip_nothing(case):
    """The control: the same bases under the same labels, hardly changed."""
    trials = run_trials(case, FeatureCollision(iterations=1))
    assert np.array_equal(trials.crafted.images, case.pool[_rows(case, trials.crafted.images)])
    assert trials.success <= 0.1


def _rows(case: TransferCase, images: np.ndarray) -> list[int]:
    return [int((case.pool == image).all(axis=(1, 2, 3)).argmax()) for image in images]

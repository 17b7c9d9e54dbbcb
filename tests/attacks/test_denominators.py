"""Three shares of the same images, counted by hand."""

import numpy as np
import pytest

from mmer_core.attacks.denominators import fooled_of_own, fooled_of_shared, robustly_right

#                    right and safe, right and fooled, wrong and safe, wrong and fooled, met the criterion before
RIGHT = np.array([True, True, False, False, False])
FOOLED = np.array([False, True, False, True, False])
ALREADY = np.array([False, False, False, False, True])
OTHER_RIGHT = np.array([True, False, True, True, True])


def test_each_figure_has_its_own_images():
    assert robustly_right(RIGHT, FOOLED).tolist() == [True, False, False, False, False]
    np.testing.assert_equal(fooled_of_shared(RIGHT, OTHER_RIGHT, FOOLED), [0, np.nan, np.nan, np.nan, np.nan])
    assert fooled_of_own(ALREADY, FOOLED).tolist() == [False, True, False, True]


def test_figures_of_other_images_are_refused():
    with pytest.raises(ValueError, match="same images"):
        robustly_right(RIGHT, FOOLED[:3])

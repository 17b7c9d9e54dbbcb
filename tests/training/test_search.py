"""The settings that are tried."""

import numpy as np
from scipy.stats import kstest

from mmer_core.training.search import Settings, tries

GIVEN = Settings(2e-3, 1e-2, 0.4)


def test_the_given_settings_come_first_and_more_tries_begin_with_fewer():
    assert tries(GIVEN, 1, 0) == [GIVEN]
    assert tries(GIVEN, 9, 3)[:4] == tries(GIVEN, 4, 3)
    assert tries(GIVEN, 4, 3)[1:] != tries(GIVEN, 4, 4)[1:]


def test_the_rest_is_drawn_as_the_docstring_says():
    rate, decay, dropout = np.array(tries(GIVEN, 4001, 1)[1:]).T
    rates, decays = np.log([0.25 * GIVEN.learning_rate, 16]), np.log([1e-3, 1e3])
    assert kstest(np.log(rate), "uniform", rates).pvalue > 1e-3
    assert kstest(np.log(decay), "uniform", decays).pvalue > 1e-3
    assert kstest(dropout, "uniform", (0, 0.7)).pvalue > 1e-3
    # Independent of one another, or only a line would be searched.
    assert np.abs(np.corrcoef([rate, decay, dropout]) - np.eye(3)).max() < 0.06

"""The search of settings: as many random tries for every family, judged on val.

Bergstra & Bengio 2012, *Random Search for Hyper-Parameter Optimization*, https://www.jmlr.org/papers/v13/bergstra12a.html.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Settings(NamedTuple):
    """What is searched."""

    learning_rate: float
    weight_decay: float
    dropout: float


def tries(given: Settings, count: int, seed: int) -> list[Settings]:
    """What to try: first the settings that are given, then random ones, which depend on nothing else.

    The learning rate is log-uniform in a quarter to four times the given one, the weight decay log-uniform in 1e-3 to 1, dropout
    uniform in 0 to 0.7. The same seed gives the same tries; more of them begin with fewer.

    Args:
        count: At least 1.
    """
    drawn = np.random.default_rng(seed).random((count - 1, 3)).tolist()
    return [
        given,
        *(
            Settings(given.learning_rate * 4 ** (2 * rate - 1), 10 ** (3 * decay - 3), 0.7 * dropout)
            for rate, decay, dropout in drawn
        ),
    ]

"""Many tests at once: of 26 emotions without a difference, one or two show one at 5 %."""

import numpy as np
import numpy.typing as npt

from mmer_core.statistics.clusters import FloatArray


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """``(M,)`` adjusted p-values: claiming those at most ``alpha`` claims anything false with chance ``alpha`` at most.

    Holm 1979, *A Simple Sequentially Rejective Multiple Test Procedure*, https://www.jstor.org/stable/4615733; it asks
    nothing of how the tests depend on each other. Of NaN, not asked, the adjusted p-value is NaN.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    asked = np.flatnonzero(~np.isnan(p))
    order = asked[np.argsort(p[asked], kind="stable")]
    factor = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factor * p[order]))
    return adjusted

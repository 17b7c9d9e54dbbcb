"""Whether probabilities are what they say: of all that are given 0.7, do seven in ten come true?"""

import numpy as np
import numpy.typing as npt

from mmer_core.evaluation.arrays import scores_and_labels
from mmer_core.evaluation.record import CalibrationBin, CalibrationFigures

BINS = 15


def calibration_figures(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, bins: int = BINS
) -> CalibrationFigures:
    """Expected calibration error, Brier score and the points of the reliability diagram.

    The error is the mean distance between the mean probability and the share that is true in bins of equal width,
    each weighted by its predictions (Naeini et al. 2015, https://doi.org/10.1609/aaai.v29i1.9602); the Brier score is
    the mean squared distance between probability and truth (Brier 1950). Every category of every person counts as one
    prediction.

    Args:
        probabilities: ``(N, C)`` in 0..1.
        labels: ``(N, C)`` 0/1.
        bins: Of equal width, each with its lower end but the last with both.

    Raises:
        ValueError: NaN, shapes that do not fit, no rows, labels other than 0 and 1, or a probability outside 0..1.
    """
    probability, label = (values.ravel() for values in scores_and_labels(probabilities, labels, 2))
    if probability.size and (probability.min() < 0 or probability.max() > 1):
        raise ValueError("probabilities must lie in 0..1")
    place = np.minimum((probability * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    said, true = (np.bincount(place, weights=values, minlength=bins) for values in (probability, label))
    return CalibrationFigures(
        error=np.abs(said - true).sum() / max(1, len(label)),
        brier=((probability - label) ** 2).mean(),
        bins=tuple(
            CalibrationBin(n=int(count[b]), probability=said[b] / count[b], share=true[b] / count[b])
            for b in np.flatnonzero(count)
        ),
    )

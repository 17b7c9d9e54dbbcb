"""Checks of the arrays that metrics receive."""

import numpy as np
import numpy.typing as npt

from mmer_core.statistics.clusters import FloatArray


def finite(name: str, values: npt.ArrayLike, dimensions: int) -> FloatArray:
    """``values`` as float64 with this many axes.

    Raises:
        ValueError: Another number of axes, or a value that is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions:
        raise ValueError(f"{name} has shape {array.shape}, but must have {dimensions} axes")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds {int((~np.isfinite(array)).sum())} values that are NaN or infinite")
    return array


def scores_and_labels(
    scores: npt.ArrayLike, labels: npt.ArrayLike, dimensions: int
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Finite scores and 0/1 labels of one shape.

    Raises:
        ValueError: The shapes differ, there is no row, or a label is neither 0 nor 1.
    """
    score = finite("scores", scores, dimensions)
    label = np.asarray(labels)
    if label.shape != score.shape:
        raise ValueError(f"labels have shape {label.shape}, but scores have {score.shape}")
    if not len(score):
        raise ValueError("scores are empty: there is nothing to measure")
    if not np.isin(label, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    return score, label.astype(bool)


def mean_where(values: FloatArray, counted: npt.NDArray[np.bool_]) -> FloatArray:
    """Mean over the first axis of the ``counted`` entries; NaN where none counts."""
    count = counted.sum(axis=0)
    total = np.where(counted, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)

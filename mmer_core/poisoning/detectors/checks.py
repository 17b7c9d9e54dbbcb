"""What detectors ask of their inputs."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mmer_core.errors import PoisonError

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def checked_features(features: npt.ArrayLike, least: int) -> npt.NDArray[np.float32]:
    """``(N, D)`` float32 without NaN and with at least ``least`` rows (PoisonError)."""
    rows = np.asarray(features, dtype=np.float32)
    if rows.ndim != 2 or len(rows) < least or not rows.shape[1]:
        raise PoisonError(
            f"features to inspect have shape {rows.shape}; give (N, D) with N of {least} or more"
        )
    if not np.isfinite(rows).all():
        raise PoisonError("features to inspect hold NaN or infinity; encode the samples again")
    return rows


def checked_labels(labels: npt.ArrayLike, count: int) -> npt.NDArray[np.int64]:
    """``(N,)`` integers from 0 (PoisonError)."""
    label = np.asarray(labels)
    if label.shape != (count,) or not np.issubdtype(label.dtype, np.integer):
        raise PoisonError(
            f"labels are {label.dtype} {label.shape} for {count} samples; give one integer each"
        )
    if count and label.min() < 0:
        raise PoisonError(f"a label is {label.min()}; number the classes from 0")
    return label.astype(np.int64)


def by_label(labels: npt.ArrayLike | None, count: int) -> Iterator[npt.NDArray[np.int64]]:
    """The rows of each label; None: all samples are of one kind (PoisonError)."""
    label = np.zeros(count, np.int64) if labels is None else checked_labels(labels, count)
    for value in np.unique(label):
        yield np.flatnonzero(label == value)


def checked_scores(scores: npt.ArrayLike) -> Floats:
    """``(N,)`` float64 without NaN (PoisonError)."""
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or np.isnan(values).any():
        raise PoisonError(f"scores have shape {values.shape} or hold NaN; give (N,) numbers")
    return values

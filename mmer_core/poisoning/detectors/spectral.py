"""Spectral signatures: poisons of a class lie far out along its direction of largest variance."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mmer_core.errors import PoisonError
from mmer_core.poisoning.detectors.checks import Flags, Floats, by_label, checked_features, checked_scores
from mmer_core.poisoning.detectors.detector import Detector, Inspected

_ROWS_AT_ONCE = 4096
_MOST = 0.66  # 1.5 times more would be all samples of a label


def spectral_signatures(features: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> Floats:
    """Tran, Li & Madry, *Spectral Signatures in Backdoor Attacks*, 2018 (https://arxiv.org/abs/1811.00636).

    The score is the squared length of a sample's centred feature along the first right singular vector of the
    centred features of its label.

    Args:
        features: ``(N, D)``, at least 1 row.
        labels: ``(N,)`` integers from 0; None: all samples are of one kind, as those of image-text pairs.

    Returns:
        ``(N,)``, 0 or more, higher is more suspicious; comparable within a label only.

    Raises:
        PoisonError: A shape, NaN, or a negative label.
    """
    rows = checked_features(features, 1)
    scores = np.zeros(len(rows))
    for members in by_label(labels, len(rows)):
        own = rows[members]
        mean = own.mean(axis=0, dtype=np.float64)
        scatter = np.zeros((own.shape[1],) * 2)
        for part in _parts(own):
            centred = part - mean
            scatter += centred.T @ centred
        direction = np.linalg.eigh(scatter)[1][:, -1]
        scores[members] = np.concatenate([((part - mean) @ direction) ** 2 for part in _parts(own)])
    return scores


def spectral_flags(scores: npt.ArrayLike, labels: npt.ArrayLike | None, expected: float) -> Flags:
    """The paper's rule: the ``1.5 * expected`` of each label with the highest scores, rounded up.

    Args:
        scores: ``(N,)`` of `spectral_signatures`.
        labels: As given to it.
        expected: Upper bound on the poisons' share of a label, 0 to below 2/3.

    Raises:
        PoisonError: The share is outside its range, or a shape.
    """
    values = checked_scores(scores)
    if not 0 <= expected < 2 / 3:
        raise PoisonError(f"the expected share of poisons is {expected}; give 0 to below 2/3")
    flags = np.zeros(len(values), dtype=bool)
    for members in by_label(labels, len(values)):
        # Rounded first, because 1.5 * 0.02 * 100 is a little more than 3.
        removed = int(np.ceil(round(1.5 * expected * len(members), 9)))
        flags[members[np.argsort(-values[members], kind="stable")[:removed]]] = True
    return flags


def _parts(rows: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        yield rows[start : start + _ROWS_AT_ONCE]


class SpectralSignatures(Detector):
    """`spectral_signatures` of samples with and without the target."""

    name = "spectral"
    summary = "direction of largest variance (Tran et al. 2018)"
    by_label = True

    def scores(self, inspected: Inspected) -> Floats:
        return spectral_signatures(inspected.images, inspected.labels)

    def flags(self, scores: Floats, inspected: Inspected, share: float) -> Flags:
        """`spectral_flags` among the samples with the target; the upper bound is what the experiment poisons at most."""
        aimed = np.flatnonzero(inspected.labels)
        flags = np.zeros(len(scores), dtype=bool)
        if len(aimed):
            flags[aimed] = spectral_flags(scores[aimed], None, min(inspected.poisons / len(aimed), _MOST))
        return flags

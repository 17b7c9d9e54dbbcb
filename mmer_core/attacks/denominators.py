"""Three shares of attacked images that are easily taken for one another, each of other images.

All take ``(N,)`` bool, one an image. *Fooled* is an image that an attack made meet the criterion, *already* one that
met it as it was; *right* is one on which the model's clean answer is true, by `mmer_core.task_kinds.TaskKind.right`.
"""

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]


def robustly_right(right: npt.ArrayLike, fooled: npt.ArrayLike) -> Flags:
    """``(N,)`` right, and not fooled. Its share of **all** images is the robust accuracy.

    Croce and Hein 2020, *Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
    Attacks*, https://arxiv.org/abs/2003.01690.
    """
    one, other = _flags(right, fooled)
    return one & ~other


def fooled_of_shared(
    right: npt.ArrayLike, other_right: npt.ArrayLike, fooled: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """``(N,)`` 1 for fooled, 0 for not, NaN where not **both** models are right; its share is fair to compare models by:
    a model cannot gain by being wrong from the start."""
    mine, other = _flags(right, other_right)
    return np.where(mine & other, _flags(fooled, fooled)[0], np.nan)


def fooled_of_own(already: npt.ArrayLike, fooled: npt.ArrayLike) -> Flags:
    """``(n,)`` which of the images that did not meet the criterion as they were do so attacked; its share is the success
    against the model's own clean answer, true or not."""
    before, after = _flags(already, fooled)
    return after[~before]


def _flags(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Flags, Flags]:
    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if one.ndim != 1 or one.shape != other.shape:
        raise ValueError(f"flags of shape {one.shape} and {other.shape} are not of the same images")
    return one, other

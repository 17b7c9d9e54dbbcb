"""From logits to probabilities, and from probabilities to decisions, both fitted on validation data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmer_core.evaluation.arrays import FloatArray, finite, scores_and_labels
from mmer_core.heavy import Tensor, optimize, special, torch

SMALLEST_SLOPE = 0.01
"""Calibration must neither reverse nor erase a model's ranking, so its slope stays above 0."""


@dataclass(frozen=True)
class PlattScaling:
    """``probability = sigmoid(slope * logit + intercept)``, one pair a category.

    Platt 1999, *Probabilistic Outputs for Support Vector Machines*, as in Lin, Lin and Weng 2007, *A note on
    Platt's probabilistic outputs for support vector machines*, https://doi.org/10.1007/s10994-007-5018-6.

    Attributes:
        slope: ``(C,)``, at least `SMALLEST_SLOPE`, so that average precision is the same before and after.
        intercept: ``(C,)``.
    """

    slope: FloatArray
    intercept: FloatArray

    @classmethod
    def fit(cls, logits: npt.ArrayLike, labels: npt.ArrayLike) -> PlattScaling:
        """The scaling of least cross-entropy towards Platt's targets, on held-out data.

        The targets are ``(P + 1) / (P + 2)`` for the ``P`` positives and ``1 / (N - P + 2)`` for the rest, so
        the fit stays finite on separable data. A category without positives (or without negatives) has one
        and the same target everywhere: it gets the smallest slope and the intercept that meets that target.

        Args:
            logits: ``(N, C)``.
            labels: ``(N, C)`` 0/1.

        Raises:
            ValueError: NaN, differing shapes, no rows, or labels other than 0 and 1.
        """
        logit, label = scores_and_labels(logits, labels, 2)
        pairs = [_fit_category(logit[:, c], label[:, c]) for c in range(logit.shape[1])]
        slope, intercept = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
        return cls(slope.copy(), intercept.copy())

    def probabilities(self, logits: npt.ArrayLike) -> FloatArray:
        """``(N, C)`` calibrated probabilities of ``logits (N, C)``.

        Raises:
            ValueError: NaN, or another number of categories than fitted.
        """
        logit = finite("logits", logits, 2)
        if logit.shape[1] != len(self.slope):
            raise ValueError(
                f"logits have {logit.shape[1]} categories, but the scaling has {len(self.slope)}"
            )
        return special.expit(self.slope * logit + self.intercept)

    def calibrated(self, logits: Tensor) -> Tensor:
        """``(B, C)`` log-odds of the calibrated probabilities."""
        slope, intercept = (
            torch.as_tensor(values, dtype=torch.float32, device=logits.device)
            for values in (self.slope, self.intercept)
        )
        return slope * logits + intercept

    @staticmethod
    def activation(calibrated: Tensor) -> Tensor:
        """Probabilities of what `calibrated` gives."""
        return torch.sigmoid(calibrated)

    @property
    def fitted(self) -> bool:
        """Whether it changes anything."""
        return bool((self.slope != 1).any() or self.intercept.any())

    def to_dict(self) -> dict[str, list[float]]:
        """For JSON; `from_dict` restores it to the last bit."""
        return {"slope": self.slope.tolist(), "intercept": self.intercept.tolist()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Sequence[float]]) -> PlattScaling:
        """The inverse of `to_dict`.

        Raises:
            ValueError: A field is missing, not finite, or not as long as the other.
        """
        if set(fields) != {"slope", "intercept"}:
            raise ValueError(f"a Platt scaling has the fields slope and intercept, not {sorted(fields)}")
        slope, intercept = finite("slope", fields["slope"], 1), finite("intercept", fields["intercept"], 1)
        if slope.shape != intercept.shape:
            raise ValueError(f"{len(slope)} slopes do not go with {len(intercept)} intercepts")
        return cls(slope, intercept)


@dataclass(frozen=True)
class TemperatureScaling:
    """``probabilities = softmax(logits / temperature)``, for samples with exactly one category.

    Guo et al. 2017, *On Calibration of Modern Neural Networks*, https://arxiv.org/abs/1706.04599, section 4.2. No
    ranking and no prediction changes.
    """

    temperature: float

    @classmethod
    def fit(cls, logits: npt.ArrayLike, labels: npt.ArrayLike) -> TemperatureScaling:
        """The temperature in 0.01..100 of least cross-entropy on held-out data, which has one minimum.

        Args:
            logits: ``(N, C)``.
            labels: ``(N, C)`` one-hot.

        Raises:
            ValueError: NaN, differing shapes, no rows, or labels other than 0 and 1.
        """
        logit, label = scores_and_labels(logits, labels, 2)

        def loss(power: float) -> float:
            return float(-special.log_softmax(logit * np.exp(-power), axis=1)[label].mean())

        limits = (np.log(0.01), np.log(100.0))
        return cls(
            float(
                np.exp(
                    optimize.minimize_scalar(loss, bounds=limits, method="bounded", options={"xatol": 1e-8}).x
                )
            )
        )

    @property
    def fitted(self) -> bool:
        """Whether it changes anything."""
        return self.temperature != 1

    def probabilities(self, logits: npt.ArrayLike) -> FloatArray:
        """``(N, C)`` calibrated probabilities of ``logits (N, C)``; each row sums to 1."""
        found: FloatArray = special.softmax(finite("logits", logits, 2) / self.temperature, axis=1)
        return found

    def calibrated(self, logits: Tensor) -> Tensor:
        """``(B, C)`` logits of the calibrated probabilities."""
        return logits / self.temperature

    @staticmethod
    def activation(calibrated: Tensor) -> Tensor:
        """Probabilities of what `calibrated` gives."""
        return torch.softmax(calibrated, dim=-1)


def _fit_category(logit: FloatArray, label: npt.NDArray[np.bool_]) -> tuple[float, float]:
    positives = int(label.sum())
    negatives = len(label) - positives
    target = np.where(label, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # Centred and scaled, the two parameters are of one size and hardly correlated.
    centre, spread = float(logit.mean()), float(logit.std())
    if spread <= 1e-12 * max(1.0, abs(centre)):
        spread = 1.0
    x = (logit - centre) / spread

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        z = parameters[0] * x + parameters[1]
        error = special.expit(z) - target
        value = np.mean(np.logaddexp(0, z) - target * z)
        return float(value), np.array([np.mean(error * x), np.mean(error)])

    share = float(target.mean())
    smallest = SMALLEST_SLOPE * spread
    start = np.array([max(1.0, smallest), np.log(share / (1 - share))])
    result = optimize.minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(smallest, None), (None, None)],
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 500},
    )
    slope = max(float(result.x[0]) / spread, SMALLEST_SLOPE)
    return slope, float(result.x[1]) - slope * centre


def f1_thresholds(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
    """``(C,)`` thresholds with the highest F1 that ``probability >= threshold`` can reach on this data.

    Each lies halfway between the lowest probability it accepts and the next lower one (0 below the lowest).
    Of equally good ones the highest is taken. A category without positives gets 1: claimed only at certainty.

    Args:
        probabilities: ``(N, C)`` in 0..1.
        labels: ``(N, C)`` 0/1.

    Raises:
        ValueError: NaN, differing shapes, no rows, labels other than 0 and 1, or a probability outside 0..1.
    """
    probability, label = scores_and_labels(probabilities, labels, 2)
    if probability.size and (probability.min() < 0 or probability.max() > 1):
        raise ValueError("probabilities must lie in 0..1")
    return np.array([_f1_threshold(probability[:, c], label[:, c]) for c in range(label.shape[1])])


def _f1_threshold(probability: FloatArray, label: npt.NDArray[np.bool_]) -> float:
    if not label.any():
        return 1.0
    values, tie = np.unique(-probability, return_inverse=True)  # ascending, so from the highest down
    claimed = np.cumsum(np.bincount(tie))
    found = np.cumsum(np.bincount(tie, weights=label))
    best = int(np.argmax(2 * found / (claimed + label.sum())))
    accepted = -values[best]
    rejected = -values[best + 1] if best + 1 < len(values) else 0.0
    middle = rejected + (accepted - rejected) / 2
    # Between neighbouring floats there is no middle: rounding may land on the rejected value.
    return float(middle if middle > rejected else accepted)

"""The linear probe: logistic regression on the standardised features of all streams, with the C that is best on val.

`mmer_core.stages.probe` measures it, and labelled models start from it. All categories are fitted together by L-BFGS in
the principal axes of the features, each scaled by the curvature that cross-entropy has there where nothing but the
prevalences is known: the penalty is the same in any rotation, and steps are few.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmer_core import models
from mmer_core.evaluation.emotion_metrics import mean_average_precision
from mmer_core.heavy import Tensor, no_grad, special, torch
from mmer_core.objectives import CategoryObjective, ClassObjective
from mmer_core.progress import Progress, silent
from mmer_core.training.data import EmotionData

_STEPS, _TOLERANCE = 500, 1e-5
_SURE = 30.0
"""Logit of a category that train always shows, or less that of one it never shows, while others are fitted."""


class Tried(NamedTuple):
    """One value of C: the mAP on val in percent, NaN where val has no label, and how many of its regressions stopped
    before they had converged."""

    strength: float
    map: float
    unconverged: int


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe.

    Attributes:
        widths: Width of each stream, in the order in which they are concatenated to ``D`` features.
        mean: ``(D,)`` of the samples of train that have the stream.
        scale: ``(D,)`` their standard deviation; 1 for a feature that does not vary.
        weights: ``(C, D)`` of standardised features.
        intercepts: ``(C,)``; infinite where train always, or never, shows a category.
        one_label: Whether the probabilities of a sample sum to 1.
        strength: The C that was chosen, of those ``tried``: the smallest of equally good ones.
    """

    widths: Mapping[str, int]
    mean: Tensor
    scale: Tensor
    weights: Tensor
    intercepts: Tensor
    one_label: bool
    strength: float
    tried: tuple[Tried, ...]

    def probabilities(self, data: EmotionData) -> npt.NDArray[np.float64]:
        """``(N, C)``; a stream that is absent counts as its mean."""
        seen = _standardised(_beside(data, self.widths), self.mean, self.scale)
        return _probabilities(seen @ self.weights.T + self.intercepts, self.one_label)


def fit_probe(
    train: EmotionData,
    val: EmotionData,
    widths: Mapping[str, int],
    objective: CategoryObjective | ClassObjective,
    strengths: Sequence[float],
    progress: Progress = silent,
) -> LinearProbe:
    """Minimise the objective on train with an L2 penalty, for each C, and choose by the mAP on val.

    With cross-entropy it is scikit-learn's ``LogisticRegression`` after its ``StandardScaler``: one of all categories
    for a `ClassObjective`, else one for each.

    Args:
        widths: The streams to read, with their widths.
        strengths: Values of scikit-learn's C, rising.
    """
    raw = _beside(train, widths)
    mean = raw.nanmean(dim=0).nan_to_num()
    spread = (raw - mean).square().nanmean(dim=0).sqrt()
    scale = torch.where(spread > 1e-6, spread, 1.0)
    of_val = _standardised(_beside(val, widths), mean, scale)
    regression = _Regression(_standardised(raw, mean, scale), train.labels, objective)
    one_label, truth = isinstance(objective, ClassObjective), val.labels.cpu().numpy()
    tried: list[Tried] = []
    found: list[tuple[Tensor, Tensor]] = []
    for place, strength in enumerate(strengths):
        unconverged = regression.fit(strength)
        found.append(regression.coefficients())
        probabilities = _probabilities(of_val @ found[-1][0].T + found[-1][1], one_label)
        tried.append(Tried(strength, 100 * mean_average_precision(probabilities, truth), unconverged))
        progress(place + 1, len(strengths), f"C = {strength:g}")
    best = int(np.argmax(np.nan_to_num([one.map for one in tried])))
    return LinearProbe(widths, mean, scale, *found[best], one_label, tried[best].strength, tuple(tried))


@no_grad()
def start_from(model: models.EmotionModel, probe: LinearProbe) -> None:
    """Let a fresh model, whose statistics are fitted, predict what the probe does; heads add nothing to it yet.

    A category that train always or never shows keeps the model's own intercept, which is finite.
    """
    from mmer_core.models.layers import EmotionHead

    parts = (part.split(list(probe.widths.values()), dim=-1) for part in (probe.weights, probe.scale))
    for name, weights, scale in zip(probe.widths, *parts, strict=True):
        own = model.linear[name].get_parameter("weight")
        own.copy_(weights * (model.standardise(name).std.to(scale.device) / scale))
    for head in (module for module in model.modules() if isinstance(module, EmotionHead)):
        head.categories.weight.zero_()
        bias = head.categories.bias
        found = probe.intercepts
        bias.copy_(torch.where(found.isfinite(), found, bias.to(found.device)))


class _Regression:
    """A regression on standardised features ``(N, D)``; each fit goes on from the last, so penalties should fall."""

    def __init__(
        self, features: Tensor, labels: Tensor, objective: CategoryObjective | ClassObjective
    ) -> None:
        self.labels = labels.to(features)
        self.objective = copy.deepcopy(objective).to(features)
        self.one_label = isinstance(objective, ClassObjective)
        self.axes, variance = _principal_axes(features)
        self.scores = features @ self.axes  # (N, R)
        share = self.labels.mean(dim=0)
        self.shown = (share > 0) if self.one_label else (share > 0) & (share < 1)  # (C,)
        self.never = share == 0
        share = share.clamp(1e-3, 1 - 1e-3)
        self.curvature = (share * (1 - share))[:, None] * torch.cat([variance.new_ones(1), variance])
        # By category, the intercept and the weights (C, 1 + R).
        self.found = torch.zeros_like(self.curvature)
        self.found[:, 0] = torch.where(
            self.shown,
            share.log() if self.one_label else torch.logit(share),
            torch.where(self.never, -_SURE, _SURE),
        )

    def fit(self, strength: float) -> int:
        """Go on with another C; how many regressions stopped before they had converged."""
        penalty = 1 / (strength * len(self.scores))
        if self.one_label and self.shown.sum() == 2:
            # Of two classes scikit-learn penalises the difference of the weights, which are a half of it each.
            penalty *= 2
        ridge = torch.full_like(self.found, penalty)
        ridge[:, 0] = 0
        size = (self.curvature + ridge).rsqrt()
        steps = (self.found / size).requires_grad_(True)
        optimiser = torch.optim.LBFGS(
            [steps],
            max_iter=_STEPS,
            max_eval=2 * _STEPS,
            tolerance_grad=_TOLERANCE,
            tolerance_change=0,
            line_search_fn="strong_wolfe",
        )
        # The mean over the samples, summed over the categories that are regressions of their own.
        regressions = 1 if self.one_label else self.labels.shape[1]

        def closure() -> Tensor:
            optimiser.zero_grad()
            taken = torch.where(self.shown[:, None], steps * size, self.found)
            loss: Tensor = regressions * self.objective(
                self.scores @ taken[:, 1:].T + taken[:, 0], self.labels
            )
            loss = loss + (ridge * taken.square()).sum() / 2
            loss.backward()
            return loss

        optimiser.step(closure)
        closure()
        assert steps.grad is not None
        left = steps.grad.abs().amax(dim=1) > _TOLERANCE
        self.found = torch.where(self.shown[:, None], (steps * size).detach(), self.found)
        return int(left.any()) if self.one_label else int(left.sum())

    def coefficients(self) -> tuple[Tensor, Tensor]:
        """Weights ``(C, D)`` and intercepts ``(C,)``."""
        constant = torch.where(self.never, -torch.inf, torch.inf)
        return self.found[:, 1:] @ self.axes.T, torch.where(self.shown, self.found[:, 0], constant)


def _principal_axes(features: Tensor) -> tuple[Tensor, Tensor]:
    """Axes ``(D, R)`` and variances ``(R,)`` of centred features ``(N, D)``; none along which nothing varies."""
    count, width = features.shape
    small = features @ features.T if count < width else features.T @ features
    variance, axes = torch.linalg.eigh(small / count)
    varies = variance > 1e-10 * variance[-1]
    variance, axes = variance[varies], axes[:, varies]
    return (features.T @ axes / (count * variance).sqrt() if count < width else axes), variance


def _beside(data: EmotionData, widths: Mapping[str, int]) -> Tensor:
    """``(N, D)``: features of all streams side by side, NaN where a sample, or the whole split, lacks a stream."""
    device = data.labels.device
    # MPS has no double precision.
    of_stream = {
        name: torch.full(
            (len(data), width),
            torch.nan,
            dtype=torch.float64,
            device="cpu" if device.type == "mps" else device,
        )
        for name, width in widths.items()
    }
    for name, rows in of_stream.items():
        if name in data.streams:
            there = data.present.get(name, torch.ones(len(data), dtype=torch.bool, device=device))
            rows[there.to(rows.device)] = data.streams[name][there].to(rows)
    return torch.cat(list(of_stream.values()), dim=1)


def _standardised(raw: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return ((raw - mean) / scale).nan_to_num()


def _probabilities(logits: Tensor, one_label: bool) -> npt.NDArray[np.float64]:
    values = logits.cpu().numpy()
    return special.softmax(values, axis=1) if one_label else special.expit(values)

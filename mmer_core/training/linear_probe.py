"""The linear probe: logistic regression on the standardised features of all streams, with the C that is best on val.

`mmer_core.stages.probe` measures it, and labelled models start from it. All categories are fitted together by L-BFGS in
the principal axes of the features, each scaled by the curvature that cross-entropy has there where nothing but the
prevalences is known: the penalty is the same in any rotation, and steps are few.
"""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from mmer_core import models
from mmer_core.evaluation.emotion_metrics import mean_average_precision
from mmer_core.heavy import Tensor, no_grad, special, torch
from mmer_core.matrix import Blocks
from mmer_core.objectives import CategoryObjective, ClassObjective
from mmer_core.progress import Progress, silent
from mmer_core.training.data import EmotionBatch, EmotionData

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
        seen = _standardised(data, self.widths, self.mean, self.scale)
        each = [_probabilities(block @ self.weights.T + self.intercepts, self.one_label) for block in seen()]
        return np.concatenate(each)


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
    raw = _raw(train, widths)
    mean = _nanmean(raw).nan_to_num()
    spread = _nanmean(lambda: ((block - mean).square() for block in raw())).sqrt()
    scale = torch.where(spread > 1e-6, spread, 1.0)
    of_val = _Kept(_standardised(val, widths, mean, scale), val.scratch)
    of_train = _Kept(_standardised(train, widths, mean, scale), train.scratch)
    regression = _Regression(of_train, train.labels, objective)
    one_label, truth = isinstance(objective, ClassObjective), val.labels.cpu().numpy()
    tried: list[Tried] = []
    found: list[tuple[Tensor, Tensor]] = []
    for place, strength in enumerate(strengths):
        unconverged = regression.fit(strength)
        found.append(regression.coefficients())
        weights, intercepts = found[-1]
        probabilities = np.concatenate(
            [_probabilities(block @ weights.T + intercepts, one_label) for block in of_val]
        )
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
        self, features: _Kept, labels: Tensor, objective: CategoryObjective | ClassObjective
    ) -> None:
        self.axes, variance = _principal_axes(features)
        self.labels = labels.to(self.axes)
        self.objective = copy.deepcopy(objective).to(self.axes)
        self.one_label = isinstance(objective, ClassObjective)
        self.scores = _Kept(lambda: (block @ self.axes for block in features), features.scratch)  # (N, R)
        mass = [self.objective.mass(own) for own in self.labels.split(self.scores.sizes)]
        self.shares = torch.stack(mass) / torch.stack(mass).sum()
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
        penalty = 1 / (strength * len(self.labels))
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
            loss = (ridge * taken.square()).sum() / 2
            loss.backward(retain_graph=True)
            # The slope of each block by itself: no more than one is in memory.
            found = taken.detach().requires_grad_(True)
            labels = self.labels.split(self.scores.sizes)
            for share, scores, own in zip(self.shares, self.scores, labels, strict=True):
                part = regressions * share * self.objective(scores @ found[:, 1:].T + found[:, 0], own)
                part.backward()
                loss = loss.detach() + part.detach()
            taken.backward(found.grad)
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


class _Kept:
    """Blocks of float64 that are read many times: in memory, or in a file of a folder."""

    def __init__(self, blocks: Blocks, scratch: Path | None) -> None:
        self.scratch = scratch
        self.sizes: list[int] = []
        self._blocks: list[Tensor] = []
        self._file: IO[bytes] | None = None
        if scratch is not None:
            scratch.mkdir(parents=True, exist_ok=True)
            self._file = TemporaryFile(dir=scratch)  # noqa: SIM115 - open as long as this is
        for block in blocks():
            self.sizes.append(len(block))
            self.width, self.device = block.shape[1], block.device
            if self._file is None:
                self._blocks.append(block)
            else:
                block.cpu().numpy().tofile(self._file)

    def __iter__(self) -> Iterator[Tensor]:
        if self._file is None:
            yield from self._blocks
            return
        self._file.seek(0)
        for size in self.sizes:
            values = np.fromfile(self._file, np.float64, size * self.width)
            yield torch.from_numpy(values).view(size, self.width).to(self.device)


def _principal_axes(features: _Kept) -> tuple[Tensor, Tensor]:
    """Axes ``(D, R)`` and variances ``(R,)`` of centred features ``(N, D)``; none along which nothing varies."""
    count, width = sum(features.sizes), features.width
    if count < width:
        rows = torch.cat(list(features))
        small = rows @ rows.T
    else:
        small = functools.reduce(operator.add, (block.T @ block for block in features))
    variance, axes = torch.linalg.eigh(small / count)
    varies = variance > 1e-10 * variance[-1]
    variance, axes = variance[varies], axes[:, varies]
    return (rows.T @ axes / (count * variance).sqrt() if count < width else axes), variance


def _raw(data: EmotionData, widths: Mapping[str, int]) -> Blocks:
    """``(N, D)``: features of all streams side by side, NaN where a sample, or the whole split, lacks a stream."""
    read = data.reading(widths)
    return lambda: (_beside(block, widths) for block in read.blocks())


def _beside(data: EmotionBatch, widths: Mapping[str, int]) -> Tensor:
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


def _nanmean(blocks: Blocks) -> Tensor:
    """``(D,)`` over the rows of all blocks."""
    sums, counts = zip(
        *((block.nansum(dim=0), (~block.isnan()).sum(dim=0)) for block in blocks()), strict=True
    )
    return torch.stack(sums).sum(dim=0) / torch.stack(counts).sum(dim=0)


def _standardised(data: EmotionData, widths: Mapping[str, int], mean: Tensor, scale: Tensor) -> Blocks:
    raw = _raw(data, widths)
    return lambda: (((block - mean) / scale).nan_to_num() for block in raw())


def _probabilities(logits: Tensor, one_label: bool) -> npt.NDArray[np.float64]:
    values = logits.cpu().numpy()
    return special.softmax(values, axis=1) if one_label else special.expit(values)

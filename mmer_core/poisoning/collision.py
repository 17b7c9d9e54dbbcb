"""Feature collision: a poison that looks like its base and is, to the encoder, the target."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pydantic import Field

from mmer_core.heavy import Tensor, torch
from mmer_core.poisoning.attack import Batch, CraftedAttack, CraftingOptions
from mmer_core.poisoning.encoder import ImageEncoder
from mmer_core.poisoning.pulling import pull

_WINDOW = 40  # objectives that the published procedure averages
_EVERY = 20  # iterations between two looks at them: half the window
_DECAY = 0.5


class FeatureCollision(CraftedAttack):
    """Shafahi, Huang, Najibi, Suciu, Studer, Dumitras & Goldstein, *Poison Frogs! Targeted Clean-Label Poisoning
    Attacks on Neural Networks*, 2018.

    https://arxiv.org/abs/1804.00792, algorithm 1. The poison minimises ``||f(x) - f(t)||^2 + beta ||x - b||^2``
    (features of target ``t`` and base ``b``) by forward-backward splitting: a gradient step on the features'
    distance, ``x' = x - lambda * gradient``, then the proximal step ``(x' + lambda * beta * b) / (1 + lambda *
    beta)``. ``beta`` is the paper's ``beta0 * d_f^2 / d_b^2``, with ``d_f`` features and ``d_b = 3 * H * W``
    values of the image in 0..255.

    As in the authors' program, every 20th step is taken back, and ``lambda`` halved, where the objective is not
    below the mean of the last 40; a look at every step would halve it far too soon. Each poison has a ``lambda``
    of its own. It begins, instead of at a number that fits one network, where the first step moves pixels by
    ``step`` gray levels in root mean square. The result is the image with the lowest objective.

    With several encoders the squared distance is their mean, and so is ``d_f``.
    """

    name = "collision"
    summary = (
        "images of the target, crafted so that the encoder takes them for other images (Shafahi et al. 2018)"
    )

    class Options(CraftingOptions):
        beta: float = Field(
            0.25, ge=0, description="Weight of looking like the base; 0.25 in the paper, 0 for none."
        )
        opacity: float = Field(
            0.0,
            ge=0,
            lt=1,
            description="Opacity of the target as a watermark on its poisons; 0.3 in the paper end to end.",
        )
        eps: int | None = Field(
            None,
            ge=1,
            le=255,
            description="Largest change of a value in gray levels; none by default, as in the paper.",
        )
        step: float = Field(4.0, gt=0, description="Size of the first step in gray levels.")

    options: Options

    def scaled_beta(self, width: float, size: tuple[int, int]) -> float:
        """``beta`` for ``D`` = ``width`` features of ``(H, W)`` images."""
        return self.options.beta * (width / (3 * size[0] * size[1])) ** 2

    def _optimise(self, encoders: Sequence[ImageEncoder], batch: Batch) -> Tensor:
        marked = (1 - self.options.opacity) * batch.bases + self.options.opacity * batch.targets
        width = sum(encoder.width for encoder in encoders) / len(encoders)
        beta = self.scaled_beta(width, encoders[0].size)
        splitting = _Splitting(self, encoders, batch, marked, beta)
        for _ in range(self.options.iterations):
            splitting.advance()
        return splitting.best


class _Splitting:
    """The state of a batch: every quantity has one entry a poison, so none knows of the others."""

    def __init__(
        self,
        attack: FeatureCollision,
        encoders: Sequence[ImageEncoder],
        batch: Batch,
        marked: Tensor,
        beta: float,
    ) -> None:
        self._attack, self._encoders, self._batch = attack, encoders, batch
        self._beta, self._anchor = beta, project(marked, batch.bases, attack.options.eps)
        # The mean over the encoders is taken of what they are asked, which is smaller than what they answer.
        self._weight = 1 / len(encoders)
        self._mix = 2 * self._weight * torch.eye(len(marked), device=marked.device)
        start = project(self._anchor + batch.start - batch.bases, batch.bases, attack.options.eps)
        self._trial = start
        self._kept = self._gradient = start  # both are set by the first pass, which is always kept
        self.best = start
        self._lowest = start.new_full((len(start),), torch.inf)
        self._lambda: Tensor | None = None
        self._history = start.new_full((len(start), _WINDOW), torch.nan)
        self._accepted = torch.zeros(len(start), dtype=torch.int64, device=start.device)
        self._passes = 0

    def advance(self) -> None:
        """Judge the trial images, take back what made it worse, and make the next step from what is kept."""
        objective, gradient = self._look(self._trial)
        if self._passes % _EVERY or not self._passes:
            keep = torch.ones_like(objective, dtype=torch.bool)
            self._kept, self._gradient = self._trial, gradient
        else:
            keep = objective < self._history.nanmean(dim=1)
            self._kept = torch.where(keep[:, None, None, None], self._trial, self._kept)
            self._gradient = torch.where(keep[:, None, None, None], gradient, self._gradient)
        self._passes += 1
        better = objective < self._lowest
        self.best = torch.where(better[:, None, None, None], self._trial, self.best)
        self._lowest = torch.where(better, objective, self._lowest)
        self._remember(objective, keep)
        if self._lambda is None:
            self._lambda = self._first_lambda(gradient)
        else:
            self._lambda = torch.where(keep, self._lambda, _DECAY * self._lambda)
        self._trial = self._step()

    def _look(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Objective ``(B,)``, and the gradient of its features' part."""
        objective = self._beta * (pixels - self._anchor).flatten(1).norm(dim=1).square()
        gradients = []
        for encoder, target in zip(self._encoders, self._batch.features, strict=True):
            features, gradient = pull(encoder, pixels, self._mix, 2 * self._weight * target)
            objective = objective + self._weight * (features - target).square().sum(dim=1)
            gradients.append(gradient)
        return objective, reduce(torch.add, gradients)

    def _remember(self, objective: Tensor, keep: Tensor) -> None:
        rows = torch.arange(len(keep), device=keep.device)
        place = self._accepted % _WINDOW
        self._history[rows, place] = torch.where(keep, objective, self._history[rows, place])
        self._accepted += keep

    def _first_lambda(self, gradient: Tensor) -> Tensor:
        rms = gradient.square().mean(dim=(1, 2, 3)).sqrt()
        return self._attack.options.step / rms.clamp(min=torch.finfo(rms.dtype).tiny)

    def _step(self) -> Tensor:
        assert self._lambda is not None
        size = self._lambda[:, None, None, None]
        forward = torch.addcmul(self._kept, size, self._gradient, value=-1)
        # The proximal point of lambda * beta * ||x - b||^2 / 2, as the paper writes it.
        weight = size * self._beta
        backward = torch.addcmul(forward, weight, self._anchor).div_(1 + weight)
        return project(backward, self._batch.bases, self._attack.options.eps)


def project(pixels: Tensor, bases: Tensor, eps: int | None) -> Tensor:
    """The nearest pixels in 0..255 and, if given, within ``eps`` gray levels of ``bases``."""
    if eps is not None:
        pixels = bases + (pixels - bases).clamp(-eps, eps)
    return pixels.clamp(0, 255)

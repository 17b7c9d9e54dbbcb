"""σ-zero: gradient descent on a smooth count of the changed pixels."""

import math
from typing import Any

import numpy as np
from pydantic import Field

from mmer_core.attacks.attack import GradientSearch, WhiteBoxAttack
from mmer_core.attacks.candidates import Candidates, from_flat
from mmer_core.attacks.victims import Gradients
from mmer_core.base_config import Config

_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8  # Adam's


class SigmaZero(WhiteBoxAttack):
    """Cinà, Villani, Pintor, Schönherr, Biggio & Pelillo, *σ-zero: Gradient-based Optimization of ℓ0-norm Adversarial
    Examples*, ICLR 2025.

    https://arxiv.org/abs/2402.01879. It looks for the change ``d`` ``(H, W, 3)`` of the image, in 0..1, that minimises
    ``max(margin, 0)`` plus the mean over pixels of ``|d|^2 / (|d|^2 + sigma)``, a smooth share of changed pixels. Every
    step follows Adam along the gradient divided by its largest entry, by a rate that falls from ``step`` to a tenth of
    it along a cosine; keeps the colours possible; and takes back every pixel that changed by less than a threshold,
    which rises by ``adapt`` times the rate where the image succeeds and falls by as much where it does not.

    The paper counts channels; here a pixel changes in all three, so the norms above are those of pixels. The margin is
    divided by that of the clean image, so that the scale of scores does not matter. Where the gradient is 0
    everywhere, the step is random. Steps are as many as queries: each asks for the image of the pixels that changed, or
    where they are more than ``K``, of those that lower the margin most to first order.

    The attack has no ``K`` in the paper and ends with the fewest pixels that it finds. Here it ends with a success of at
    most ``K`` pixels, or with ``fewest`` goes on from there: after a success the fewest of its pixels that
    succeed are found by bisection, and the next one must have fewer.
    """

    name = "sigma-zero"
    title = "σ-zero (uses gradients)"
    summary = "descent on a smooth count of changed pixels, by the model's gradient (Cinà et al. 2025)"

    class Options(Config):
        step: float = Field(1.0, gt=0, description="Rate of the first step, of colours in 0..1.")
        sigma: float = Field(0.001, gt=0, description="Smoothness of the count of pixels.")
        threshold: float = Field(0.3, ge=0, le=1, description="Least change of a pixel to begin with.")
        adapt: float = Field(0.01, ge=0, description="Change of this threshold in a step, of the rate.")
        fewest: bool = Field(
            False, description="Spend the whole budget, to succeed with as few pixels as possible."
        )

    options: Options

    def _search(
        self, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int, gradients: Gradients
    ) -> GradientSearch[Any]:
        return _Descent(self.options, image, pixels, rng, budget, gradients)


class _Descent(GradientSearch[SigmaZero.Options]):
    """The change so far, ``(H, W, 3)`` float32 of colours in 0..1, and Adam's moments of the same shape."""

    def _begin(self) -> None:
        self._clean = self._image.astype(np.float32) / 255
        self._change, self._mean, self._square = (np.zeros_like(self._clean) for _ in range(3))
        self._steps, self._rate, self._threshold = 0, self._options.step, self._options.threshold
        self._scale = 0.0  # of the margin, once the clean one is known
        self._most = self._pixels  # that may change
        self._places, self._colours = np.empty(0, dtype=np.int64), np.empty((0, 3), dtype=np.uint8)
        self._fewer = range(0)  # how many of these are still to be tried, by bisection

    def propose(self) -> Candidates | None:
        if not self._most:
            return None
        # The last digit of the fewest is not worth its queries.
        if 8 * len(self._fewer) > self._most:
            count = self._middle()
        else:
            self._step()
            self._fewer = range(0)
            count = max(self._most // (2 if self.succeeded and self._steps % 2 else 1), 1)
        return from_flat(self._places[None, :count], self._colours[None, :count], self._pixels)

    def learn(self, margins: np.ndarray) -> None:
        self._fewer = self._fewer[len(self._fewer) // 2 + 1 :]

    def goes_on(self, changed: int) -> bool:
        self._most = changed - 1
        tried = self._fewer or range(1, len(self._places))
        self._fewer = range(tried.start, min(tried.stop, self._most + 1))
        return self._options.fewest

    def _middle(self) -> int:
        return self._fewer[len(self._fewer) // 2]

    def _step(self) -> None:
        """Change the image once more; the pixels to ask for follow, the most important first."""
        margin, slope = self._gradients.margin(255 * (self._clean + self._change))
        self._scale = self._scale or 255 / max(margin, 1e-12)
        sigma, size = self._options.sigma, (self._change**2).sum(axis=2, keepdims=True)
        gradient = 2 * sigma * self._change / (size + sigma) ** 2 / size.size
        if margin > 0 or not gradient.any():
            gradient += self._scale * slope
        if not gradient.any():
            gradient = slope = self._rng.standard_normal(gradient.shape, dtype=np.float32)
        self._follow(gradient / np.abs(gradient).max())
        self._adapt(succeeded=margin <= 0)
        small = (np.abs(self._change) < self._threshold).all(axis=2)
        gain = -(self._change * slope).sum(axis=2)
        # Where nothing is left, the best of what was taken back is asked for.
        places = np.flatnonzero(small == small.all())
        self._places = places[np.argsort(-gain.ravel()[places], kind="stable")]
        colours = np.rint(255 * (self._clean + self._change)).clip(0, 255).astype(np.uint8)
        self._colours = colours.reshape(-1, 3)[self._places]
        self._change[small] = 0

    def _follow(self, gradient: np.ndarray) -> None:
        """One step of Adam, within the colours that there are."""
        self._steps += 1
        self._mean += (1 - _FIRST) * (gradient - self._mean)
        self._square += (1 - _SECOND) * (gradient**2 - self._square)
        spread = np.sqrt(self._square / (1 - _SECOND**self._steps)) + _TINY
        moved = self._change - self._rate / (1 - _FIRST**self._steps) * self._mean / spread
        self._change = (self._clean + moved).clip(0, 1) - self._clean

    def _adapt(self, succeeded: bool) -> None:
        """The next rate, and the threshold by it."""
        self._rate = self._options.step * (0.55 + 0.45 * math.cos(math.pi * self._steps / self.budget))
        move = self._options.adapt * self._rate
        self._threshold = min(max(self._threshold + (move if succeeded else -move), 0), 1)

"""Sparse-PGD: gradient descent on colours and on a mask of K pixels."""

from typing import Any, Literal

import numpy as np
from pydantic import Field

from mmer_core.attacks.attack import GradientSearch, WhiteBoxAttack
from mmer_core.attacks.candidates import Candidates, from_flat
from mmer_core.attacks.victims import Gradients
from mmer_core.base_config import Config


class SparsePGD(WhiteBoxAttack):
    """Zhong, Huang & Liu, *Towards Efficient Training and Evaluation of Robust Models against l0 Bounded Adversarial
    Perturbations*, ICML 2024.

    https://arxiv.org/abs/2405.05075. The change is ``p * top(m)``: ``p`` ``(H, W, 3)``, of any size within the colours
    that there are, at the ``K`` pixels where the mask ``m`` ``(H, W)`` is largest. ``p`` begins uniform, ``m`` normal.
    Every step moves ``p`` by ``colour_step`` against the sign of its gradient, and ``m`` by ``mask_step * sqrt(H * W)``
    against its own, divided by its norm. With ``g`` the gradient by the image, that of ``m`` is the sum over the
    channels of ``g * p``, times the slope of the sigmoid at ``m``; that of ``p`` is ``g * top(m)``, the *sparse* gradient, or
    ``g * sigmoid(m)``, the *unprojected* one, which moves the colours of pixels outside of the set as well. A mask whose set
    stayed the same for ``patience`` steps is drawn anew.

    The paper's sAA runs one gradient after the other, then Sparse-RS. ``both`` gives each half of the budget and begins
    anew in between. The loss is the criterion's margin (the paper's: cross-entropy, and the margin where it is small).
    A query is one step, judged as the 8-bit image.
    """

    name = "sparse-pgd"
    title = "Sparse-PGD (uses gradients)"
    summary = "descent on colours and on a mask of K pixels, by the model's gradient (Zhong et al. 2024)"

    class Options(Config):
        gradient: Literal["both", "unprojected", "sparse"] = Field(
            "both",
            description="Gradient of the colours: of all pixels, of those in the mask, or half of the budget each.",
        )
        colour_step: float = Field(0.25, gt=0, description="Step of colours in 0..1.")
        mask_step: float = Field(0.25, gt=0, description="Step of the mask; times the root of its size.")
        patience: int = Field(
            3, ge=1, description="Steps without another pixel after which the mask is drawn anew."
        )

    options: Options

    def _search(
        self, image: np.ndarray, pixels: int, rng: np.random.Generator, budget: int, gradients: Gradients
    ) -> GradientSearch[Any]:
        return _MaskedDescent(self.options, image, pixels, rng, budget, gradients)


class _MaskedDescent(GradientSearch[SparsePGD.Options]):
    """Colours ``(H, W, 3)`` float32 relative to the clean ones, in 0..1; the mask ``(H * W,)``; and the ``(K,)`` set."""

    def _begin(self) -> None:
        self._clean = self._image.reshape(-1, 3).astype(np.float32) / 255
        self._unprojected = self._options.gradient != "sparse"
        self._draw()

    def propose(self) -> Candidates:
        if self._options.gradient == "both" and self.queries == -(-self.budget // 2):
            self._unprojected = False
            self._draw()
        elif self.queries:
            self._step()
        places = np.sort(self._set)
        colours = np.rint(255 * (self._clean + self._change)[places]).clip(0, 255).astype(np.uint8)
        return from_flat(places[None], colours[None])

    def learn(self, margins: np.ndarray) -> None:
        """Nothing: each step takes the gradient at its own image."""

    def _draw(self) -> None:
        draw = self._rng.uniform(-1, 1, self._clean.shape).astype(np.float32)
        self._change = (self._clean + draw).clip(0, 1) - self._clean
        self._draw_mask()

    def _draw_mask(self) -> None:
        self._mask = self._rng.standard_normal(len(self._clean), dtype=np.float32)
        self._set, self._unchanged = self._top(), 0

    def _top(self) -> np.ndarray:
        return np.argsort(-self._mask, kind="stable")[: self._pixels]

    def _step(self) -> None:
        if self._unchanged >= self._options.patience:
            self._draw_mask()
            return
        attacked = self._clean.copy()
        attacked[self._set] += self._change[self._set]
        _, slope = self._gradients.margin(255 * attacked.reshape(self._image.shape))
        slope = slope.reshape(-1, 3)
        share = 1 / (1 + np.exp(-self._mask))
        of_mask = (slope * self._change).sum(axis=1) * share * (1 - share)
        if self._unprojected:
            seen = share
        else:
            seen = np.zeros_like(share)
            seen[self._set] = 1
        moved = self._change - self._options.colour_step * np.sign(slope * seen[:, None])
        self._change = (self._clean + moved).clip(0, 1) - self._clean
        if norm := float(np.linalg.norm(of_mask)):
            self._mask -= self._options.mask_step * len(self._mask) ** 0.5 * of_mask / norm
        before, self._set = self._set, self._top()
        self._unchanged = self._unchanged + 1 if set(before) == set(self._set) else 0

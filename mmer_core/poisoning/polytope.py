"""Bullseye Polytope: several poisons whose mean, to the encoders, is the target."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from mmer_core.heavy import Tensor, torch
from mmer_core.poisoning.attack import Batch, CraftedAttack, CraftingOptions
from mmer_core.poisoning.collision import project
from mmer_core.poisoning.encoder import ImageEncoder
from mmer_core.poisoning.pulling import pull


class BullseyePolytope(CraftedAttack):
    """Aghakhani, Meng, Wang, Kruegel & Vigna, *Bullseye Polytope: A Scalable Clean-Label Poisoning Attack with
    Improved Transferability*, 2021.

    https://arxiv.org/abs/2005.00191, for transfer learning on a frozen encoder. The ``k`` poisons of a target
    minimise ``||f(t) - mean_j f(x_j)||^2 / (2 ||f(t)||^2)``, averaged over the encoders, by Adam, and are
    brought back into the budget after every step. So the target lies in the middle of what they span, where a
    classifier that fits them all has to give it their label.

    The authors' program repeats each network with dropout to make an ensemble of one; encoders here are frozen
    in evaluation mode, and the ensemble are the encoders that are given.
    """

    name = "bullseye"
    summary = "the same, by the mean of several poisons (Aghakhani et al. 2021)"
    divisible = False

    class Options(CraftingOptions):
        eps: int = Field(
            25, ge=1, le=255, description="Largest change of a value in gray levels; 25 in the paper."
        )
        rate: float = Field(2.0, gt=0, description="Learning rate of Adam in gray levels; 2 in the paper.")

    options: Options

    def _optimise(self, encoders: Sequence[ImageEncoder], batch: Batch) -> Tensor:
        poisons = project(batch.start, batch.bases, self.options.eps).clone()
        optimiser = torch.optim.Adam([poisons], lr=self.options.rate)
        terms = [_term(batch.groups, target) for target in batch.features]
        for _ in range(self.options.iterations):
            gradients = [
                pull(encoder, poisons, *term)[1] for encoder, term in zip(encoders, terms, strict=True)
            ]
            poisons.grad = torch.stack(gradients).mean(dim=0)
            optimiser.step()
            poisons.copy_(project(poisons, batch.bases, self.options.eps))
        return poisons


def _term(groups: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of the paper's loss with regard to the features, as ``mix`` and ``shift`` of `pull`.

    With ``k`` poisons of a target ``t``, that of each is ``(mean - t) / (k ||t||^2)``.
    """
    k = groups.sum(dim=1, keepdim=True)
    square = target.square().sum(dim=1, keepdim=True)
    return groups / (k * k * square), target / (k * square)

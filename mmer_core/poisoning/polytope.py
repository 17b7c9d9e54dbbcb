"""Bullseye Polytope: several poisons whose mean, to the encoders, is the target."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmer_core.encoders.base import ImageEncoder
from mmer_core.errors import PoisonError
from mmer_core.poisoning.attack import Batch, PoisonAttack
from mmer_core.poisoning.collision import check_eps, project
from mmer_core.poisoning.pulling import pull


class BullseyePolytope(PoisonAttack):
    """Aghakhani, Meng, Wang, Kruegel & Vigna, *Bullseye Polytope: A Scalable Clean-Label Poisoning Attack with
    Improved Transferability*, 2021.

    https://arxiv.org/abs/2005.00191, for transfer learning on a frozen encoder. The ``k`` poisons of a target
    minimise ``||f(t) - mean_j f(x_j)||^2 / (2 ||f(t)||^2)``, averaged over the encoders, by Adam, and are
    brought back into the budget after every step. So the target lies in the middle of what they span, where a
    classifier that fits them all has to give it their label.

    The authors' program repeats each network with dropout to make an ensemble of one; encoders here are frozen
    in evaluation mode, and the ensemble are the encoders that are given.

    Args:
        iterations: Steps, at least 1; 4,000 in the paper.
        eps: Largest change of a value in gray levels, 1 to 255; about 25 (0.1 of the range) in the paper.
        rate: Learning rate of Adam in gray levels, above 0; about 2 in the paper (0.04 of its normalised pixels).
        noise: Half width of uniform noise in gray levels to begin with, 0 or more; 0 in the paper.

    Raises:
        PoisonError: A hyper-parameter is outside its range.
    """

    name = "bullseye"
    divisible = False

    def __init__(self, iterations: int = 200, eps: int = 25, rate: float = 2.0, noise: float = 0.0) -> None:
        if iterations < 1 or rate <= 0 or noise < 0:
            raise PoisonError(
                f"iterations is {iterations}, rate {rate} and noise {noise} in BullseyePolytope; "
                "give 1 or more, above 0, and 0 or more"
            )
        check_eps(eps)
        self.iterations = iterations
        self.eps = eps
        self.rate = rate
        self.noise = noise

    def _optimise(self, encoders: Sequence[ImageEncoder], batch: Batch) -> Tensor:
        poisons = project(batch.start, batch.bases, self.eps).clone()
        optimiser = torch.optim.Adam([poisons], lr=self.rate)
        terms = [_term(batch.groups, target) for target in batch.features]
        for _ in range(self.iterations):
            gradients = [
                pull(encoder, poisons, *term)[1] for encoder, term in zip(encoders, terms, strict=True)
            ]
            poisons.grad = torch.stack(gradients).mean(dim=0)
            optimiser.step()
            poisons.copy_(project(poisons, batch.bases, self.eps))
        return poisons


def _term(groups: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of the paper's loss with regard to the features, as ``mix`` and ``shift`` of `pull`.

    With ``k`` poisons of a target ``t``, that of each is ``(mean - t) / (k ||t||^2)``.
    """
    k = groups.sum(dim=1, keepdim=True)
    square = target.square().sum(dim=1, keepdim=True)
    return groups / (k * k * square), target / (k * square)

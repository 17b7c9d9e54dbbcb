"""The linear path of an emotion model at the linear probe, from which training starts."""

from __future__ import annotations

import math
from collections.abc import Callable

from mmer_core import models
from mmer_core.config import ProbeConfig
from mmer_core.heavy import Tensor, nn, no_grad, torch
from mmer_core.objectives import CategoryObjective, ClassObjective
from mmer_core.training.data import EmotionData

_STEPS = 50


def start_linearly(
    model: models.EmotionModel,
    objective: CategoryObjective | ClassObjective,
    train: EmotionData,
    val: EmotionData,
    judge: Callable[[Tensor], float],
) -> None:
    """Fit the linear path by the objective with an L2 penalty; heads start from what adds nothing to it.

    With cross-entropy the fresh model then predicts what `mmer_core.stages.probe` does: logistic regression on the
    standardised features of all streams side by side, with the C of the same ones that is best on val. A stream that is
    absent is at its mean.

    Args:
        judge: Says how good logits ``(N, C)`` for val are; higher is better.
    """
    from mmer_core.models.layers import EmotionHead

    inputs, seen = (_inputs(model, data) for data in (train, val))
    heads = [module for module in model.modules() if isinstance(module, EmotionHead)]
    weight = torch.zeros(train.labels.shape[1], inputs.shape[1], device=inputs.device)
    bias = heads[0].categories.bias.detach().clone()
    best, chosen = -math.inf, (weight, bias)
    # scikit-learn's C weighs the sum of the losses, objectives are their mean.
    terms = len(train) if isinstance(objective, ClassObjective) else train.labels.numel()
    for strength in ProbeConfig().strengths:  # from a strong penalty to a weak one: each starts from the last
        weight, bias = _fit(weight, bias, objective, inputs, train.labels, 1 / (strength * terms))
        value = judge(seen @ weight.T + bias)
        if value > best:
            best, chosen = value, (weight, bias)
    weights = [linear.get_parameter("weight") for linear in model.linear.values()]
    with no_grad():
        for own, part in zip(weights, chosen[0].split([one.shape[1] for one in weights], dim=1), strict=True):
            own.copy_(part)
        for head in heads:
            head.categories.weight.zero_()
            head.categories.bias.copy_(chosen[1])


@no_grad()
def _inputs(model: models.EmotionModel, data: EmotionData) -> Tensor:
    """``(N, D)``: standardised features of all streams, side by side."""
    mask = model.presence(data.streams, data.present)
    inputs = []
    for column, name in enumerate(model.streams):
        if name in data.streams:
            inputs.append(torch.where(mask[:, [column]], model.standardised(name, data.streams[name]), 0.0))
        else:  # no sample of the split has it
            inputs.append(
                torch.zeros(
                    len(data), model.linear[name].get_parameter("weight").shape[1], device=mask.device
                )
            )
    return torch.cat(inputs, dim=1)


def _fit(
    weight: Tensor, bias: Tensor, objective: nn.Module, inputs: Tensor, labels: Tensor, penalty: float
) -> tuple[Tensor, Tensor]:
    """Go on from a weight and a bias by L-BFGS."""
    weight, bias = (start.clone().requires_grad_(True) for start in (weight, bias))
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss: Tensor = objective(inputs @ weight.T + bias, labels) + penalty / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return weight.detach(), bias.detach()

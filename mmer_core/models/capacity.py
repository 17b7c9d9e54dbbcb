"""Equal capacity: every family has as many parameters as the joint model, so that size decides no comparison."""

from __future__ import annotations

from mmer_core import models
from mmer_core.heavy import torch
from mmer_core.models.spec import ModelSpec


def capacity(spec: ModelSpec) -> int:
    """Learned parameters that predictions need, without what only training reads."""
    with torch.device("meta"):
        network = models.build_model(spec)
    teachers = getattr(network, "teachers", ())
    return sum(p.numel() for name, p in network.named_parameters() if not name.startswith(teachers))


def with_capacity(spec: ModelSpec, wanted: int) -> ModelSpec:
    """The same with the hidden width that comes nearest to ``wanted`` parameters, at least 1; a linear projection stays.

    Parameters grow by the same number with every unit of a hidden layer, so two counts give the width.
    """
    if not spec.hidden:
        return spec
    one, two = (capacity(spec.model_copy(update={"hidden": width})) for width in (1, 2))
    return spec.model_copy(update={"hidden": max(1, 1 + round((wanted - one) / (two - one)))})

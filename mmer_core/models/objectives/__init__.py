"""Training objectives by name: one loss a file, each an ``nn.Module``.

Three kinds, by what they compare:

* category: ``forward(logits (B, C), targets (B, C)) -> ()``
* continuous: ``forward(predictions (B, V), ratings (B, V)) -> ()``
* contrastive: ``forward(image (B, D), text (B, D), image_id (B,), scale ()) -> ()``
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from mmer_core.errors import ConfigError
from mmer_core.models.objectives.asymmetric import AsymmetricLoss
from mmer_core.models.objectives.bce import BinaryCrossEntropy
from mmer_core.models.objectives.cosine_margin import CosineMarginLoss
from mmer_core.models.objectives.focal import FocalLoss
from mmer_core.models.objectives.infonce import InfoNCE
from mmer_core.models.objectives.margin_l2 import MarginL2
from mmer_core.models.objectives.siglip import SigmoidLoss
from mmer_core.models.objectives.smooth_l1 import SmoothL1
from mmer_core.models.objectives.triplet import TripletLoss
from mmer_core.models.objectives.weighted_mse import WeightedMSE

Registry = Mapping[str, Callable[..., nn.Module]]

CATEGORY_OBJECTIVES: Registry = {
    "bce": BinaryCrossEntropy,
    "focal": FocalLoss,
    "asymmetric": AsymmetricLoss,
    "weighted_mse": WeightedMSE,
}
CONTINUOUS_OBJECTIVES: Registry = {"smooth_l1": SmoothL1, "margin_l2": MarginL2}
CONTRASTIVE_OBJECTIVES: Registry = {
    "infonce": InfoNCE,
    "siglip": SigmoidLoss,
    "triplet": TripletLoss,
    "cosine_margin": CosineMarginLoss,
}

__all__ = [
    "CATEGORY_OBJECTIVES",
    "CONTINUOUS_OBJECTIVES",
    "CONTRASTIVE_OBJECTIVES",
    "category_objective",
    "continuous_objective",
    "contrastive_objective",
]


def category_objective(name: str, **options: Any) -> nn.Module:
    """The category objective of this name; ``options`` go to its constructor.

    Raises:
        ConfigError: The name is unknown, or an option has a value that cannot work.
    """
    return _build("category", CATEGORY_OBJECTIVES, name, options)


def continuous_objective(name: str, **options: Any) -> nn.Module:
    """The continuous objective of this name; see `category_objective`."""
    return _build("continuous", CONTINUOUS_OBJECTIVES, name, options)


def contrastive_objective(name: str, **options: Any) -> nn.Module:
    """The contrastive objective of this name; see `category_objective`.

    ``siglip`` owns a learned parameter: hand ``.parameters()`` of the objective to the optimiser too.
    """
    return _build("contrastive", CONTRASTIVE_OBJECTIVES, name, options)


def _build(kind: str, registry: Registry, name: str, options: Mapping[str, Any]) -> nn.Module:
    if name not in registry:
        raise ConfigError(f"unknown {kind} objective {name!r}: choose one of {', '.join(registry)}")
    return registry[name](**options)

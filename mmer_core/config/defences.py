"""Defences of a model against pixel attacks."""

from typing import Self

from pydantic import Field, model_validator

from mmer_core.attacks.certificates import least_draws
from mmer_core.base_config import Config
from mmer_core.encoders.ablation import Ablation
from mmer_core.encoders.filters import Filter
from mmer_core.encoders.registry import IMAGE_SOURCES

ADVERSARIAL = "adversarial"
FILTERS = {name: source for name, source in IMAGE_SOURCES.items() if issubclass(source, Filter)}


class AdversarialConfig(Config):
    """What heads learn from besides in adversarial training: attacked images of the training split."""

    images: int = Field(1000, ge=1, description="Training images to attack, drawn at random.")
    budget: int = Field(100, ge=1, description="Most queries for each of them.")


class AblationConfig(Config):
    """How a defence by ablation decides: by many drawings of an image, each of which keeps a few of its pixels."""

    draws: int = Field(200, ge=1, description="Drawings of each image by which its decision is certified.")
    guesses: int = Field(20, ge=1, description="Further drawings before them, which suggest the decision.")
    confidence: float = Field(
        0.999, gt=0, lt=1, description="Chance, at least, that a certificate of an image holds."
    )

    @model_validator(mode="after")
    def _something_can_be_certified(self) -> Self:
        if self.draws < (least := least_draws(self.confidence)):
            raise ValueError(
                f"{self.draws} draws certify nothing at a confidence of {self.confidence:g}, even if all agree: give "
                f"ablation.draws {least} or more"
            )
        return self


def is_ablation(defence: str) -> bool:
    """Whether a defence is `AblationConfig`'s."""
    return defence.partition(":")[0] == Ablation.name


def fault_of_defence(defence: str) -> str:
    """What is wrong with the name of a defence; empty if nothing is."""
    name, colon, number = defence.partition(":")
    if defence == ADVERSARIAL:
        return ""
    if name not in FILTERS or (colon and not number.isdecimal()):
        forms = [form for name, one in FILTERS.items() for form in (name, f"{name}:{one.default}")]
        return f"there is no defence {defence!r}; give some of {', '.join([*forms, ADVERSARIAL])}"
    fault = FILTERS[name]().fault(int(number)) if number else ""
    return f"{defence}: {fault}" if fault else ""

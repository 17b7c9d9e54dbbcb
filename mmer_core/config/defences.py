"""Defences of a model against pixel attacks."""

from pydantic import Field

from mmer_core.base_config import Config
from mmer_core.encoders.filters import Filter
from mmer_core.encoders.registry import IMAGE_SOURCES

ADVERSARIAL = "adversarial"
FILTERS = {name: source for name, source in IMAGE_SOURCES.items() if issubclass(source, Filter)}


class AdversarialConfig(Config):
    """What heads learn from besides in adversarial training: attacked images of the training split."""

    images: int = Field(1000, ge=1, description="Training images to attack, drawn at random.")
    budget: int = Field(100, ge=1, description="Most queries for each of them.")


def fault_of_defence(defence: str) -> str:
    """What is wrong with the name of a defence; empty if nothing is."""
    name, colon, number = defence.partition(":")
    if defence == ADVERSARIAL:
        return ""
    if name not in FILTERS or (colon and not number.isdecimal()):
        forms = [form for name, one in FILTERS.items() for form in (name, f"{name}:{one.default}")]
        return f"there is no defence {defence!r}; give some of {', '.join([*forms, ADVERSARIAL])}"
    return FILTERS[name]().fault(int(number)) if number else ""

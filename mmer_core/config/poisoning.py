"""Data poisoning: what is done to the training set, how often, and who looks for it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mmer_core.base_config import SPEED, Config
from mmer_core.named import chosen_from
from mmer_core.poisoning.registry import CONTROLS, DETECTORS, POISON_ATTACKS, TRIGGERS


@chosen_from(attacks=POISON_ATTACKS, controls=CONTROLS, trigger=TRIGGERS, detectors=DETECTORS)
class PoisonConfig(Config):
    """Poisons that should make a model see one thing where there is another."""

    attacks: tuple[str, ...] = Field(("backdoor",), min_length=1, description="Attacks.")
    controls: tuple[str, ...] = Field(
        ("trigger-only",),
        description="What no attack may claim as its own, with as many poisons as the largest count.",
    )
    target: str | None = Field(
        None,
        description="What the poisons should make a model see: a label, or a word of captions. By default the rarest "
        "label of at least 20 samples, or the most frequent word of at most 0.5 % of the training captions.",
    )
    counts: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (5, 10, 20, 40, 60),
        min_length=1,
        description="Poisons in the training set; one point of the curve each.",
    )
    mode: Literal["replace", "add"] = Field(
        "replace", description="Whether poisons replace the samples they are made of, or are added."
    )
    seeds: int = Field(
        3,
        ge=1,
        description="Trainings of everything, with the seeds from training.seed on; they also draw the poisons.",
    )
    trigger: str = Field("patch", description="Trigger of backdoors.")
    top: int = Field(
        10,
        ge=1,
        description="Captioned datasets: a caption with the word among so many first ones is a success.",
    )
    targets: int = Field(
        5, ge=1, description="Crafted poisons: images of the evaluated split that they should be taken for."
    )
    surrogate: str | None = Field(
        None,
        description="Crafted poisons: image encoder to craft with, at the models' input size; the models' own by "
        "default, another one to see what transfers.",
    )
    shard_size: Annotated[int, SPEED] = Field(
        16, ge=1, description="Poisons crafted in one shard (resume unit)."
    )
    detectors: tuple[str, ...] = Field(
        (),
        description="Who looks for the poisons of the largest count; what is flagged is left out and the models are "
        "trained once more.",
    )
    flagged: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Share of the training set that a detector may flag at most where its paper gives no rule.",
    )

    @model_validator(mode="after")
    def _counts_are_listed_once(self) -> Self:
        twice = sorted({count for count in self.counts if self.counts.count(count) > 1})
        if twice:
            raise ValueError(
                f"counts list {', '.join(map(str, twice))} more than once; give every number of poisons once"
            )
        return self

"""Data poisoning: what is done to the training set, how often, and who looks for it."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from mmer_core.config.base import SPEED, Config

BackdoorName = Literal["backdoor", "clean-label"]
CraftedName = Literal["collision", "bullseye"]
ControlName = Literal["trigger-only", "shuffle"]
DetectorName = Literal["deep-knn", "spectral", "clustering", "similarity"]
CRAFTED: tuple[CraftedName, ...] = get_args(CraftedName)
CONTROLS: tuple[ControlName, ...] = get_args(ControlName)


class PoisonConfig(Config):
    """Poisons that should make a model see one thing where there is another."""

    attacks: tuple[BackdoorName | CraftedName, ...] = Field(
        ("backdoor",),
        min_length=1,
        description="'backdoor': images with a trigger, labelled with the target (Gu et al. 2017) or captioned with it "
        "(Carlini & Terzis 2022); 'clean-label': the trigger on images of the target, whose labels stay; 'collision': "
        "images of the target, crafted so that the encoder takes them for other images (Shafahi et al. 2018); "
        "'bullseye': the same, by the mean of several (Aghakhani et al. 2021).",
    )
    controls: tuple[ControlName, ...] = Field(
        ("trigger-only",),
        description="What no attack may claim as its own, with as many poisons as the largest count: 'trigger-only': "
        "the images of the backdoor under their own labels and captions; 'shuffle': flipped labels, or captions of "
        "other images, without a trigger.",
    )
    target: str | None = Field(
        None,
        description="What the poisons should make a model see: an emotion, or a word of captions. By default the rarest "
        "emotion of at least 20 people, or the most frequent word of at most 0.5 % of the training captions.",
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
    trigger: Literal["pixels", "patch"] = Field(
        "patch", description="Few single pixels at drawn places, or a checkerboard in the lower right corner."
    )
    trigger_size: int = Field(16, ge=1, description="Number of pixels, or side of the patch in pixels.")
    trigger_opacity: float = Field(
        1.0, gt=0, le=1, description="How much of the image the trigger covers; 1 for all."
    )
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
    iterations: int = Field(200, ge=1, description="Crafted poisons: gradient steps.")
    eps: int | None = Field(
        None, ge=1, le=255, description="Crafted poisons: largest change of a value in gray levels; none by default "
        "for 'collision' (as in its paper), 25 for 'bullseye'.",
    )  # fmt: skip
    opacity: float = Field(
        0.0, ge=0, lt=1, description="'collision': opacity of the target as a watermark on its poisons."
    )
    shard_size: Annotated[int, SPEED] = Field(
        16, ge=1, description="Poisons crafted in one shard (resume unit)."
    )
    detectors: tuple[DetectorName, ...] = Field(
        (),
        description="Who looks for the poisons of the largest count; what is flagged is left out and the models are "
        "trained once more. 'deep-knn': neighbours disagree (Peri et al. 2020); 'spectral': direction of largest "
        "variance (Tran et al. 2018); 'clustering': the smaller of two clusters (Chen et al. 2018); 'similarity': image "
        "and text do not match.",
    )
    flagged: float = Field(
        0.05, gt=0, lt=1, description="Share of the training set that a detector may flag at most."
    )

    @model_validator(mode="after")
    def _counts_are_listed_once(self) -> Self:
        if len(set(self.counts)) < len(self.counts):
            raise ValueError("a count of poisons is listed twice")
        return self

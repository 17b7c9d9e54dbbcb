"""Training the heads."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from mmer_core.base_config import ADDED_LATER, Config
from mmer_core.encoders.config import FinetuneConfig
from mmer_core.named import chosen_from
from mmer_core.objectives import (
    CATEGORY_OBJECTIVES,
    CLASS_OBJECTIVES,
    CONTINUOUS_OBJECTIVES,
    CONTRASTIVE_OBJECTIVES,
)

Decoder = Literal["gru", "transformer"]


@chosen_from(
    categories=CATEGORY_OBJECTIVES,
    classes=CLASS_OBJECTIVES,
    continuous=CONTINUOUS_OBJECTIVES,
    contrastive=CONTRASTIVE_OBJECTIVES,
)
class TrainingConfig(Config):
    """The training loop."""

    epochs: int | None = Field(
        None,
        ge=1,
        description="Most passes over the training split; 30 for labelled datasets, 50 for captioned ones.",
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Epochs without a better validation metric before stopping; 10 for labelled datasets, 15 for "
        "captioned ones.",
    )
    batch_size: int | None = Field(
        None,
        ge=2,
        description="Samples a step, smaller where an epoch would have fewer than 8 steps; 512 for labelled datasets, "
        "256 photos for captioned ones.",
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="Peak learning rate of AdamW (cosine decay); 1e-3 for labelled datasets, 3e-3 for captioned "
        "ones.",
    )
    captions: int = Field(
        5,
        ge=1,
        description="Captioned datasets: most captions of a photo that are shown in one step; they are no negatives "
        "of one another.",
    )
    weight_decay: float = Field(1e-2, ge=0, le=1e6, description="Decoupled weight decay.")
    tries: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Settings that are tried, of which the best on val is kept: the given ones, then learning rates, weight "
        "decays and dropouts drawn at random by the seed, the same for every family; 4 for labelled datasets, 1 for "
        "captioned ones, whose training takes minutes.",
    )
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of all steps with a linear warm-up.")
    average: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="Decay of the exponential moving average of the weights, which is what is validated and kept; "
        "0 for the weights as they are.",
    )
    categories: str = Field(
        "bce", description="Objective of the categories, of which a sample may have several."
    )
    classes: str = Field("cross_entropy", description="Objective of the classes of single-label datasets.")
    continuous: str = Field("smooth_l1", description="Objective of valence, arousal and dominance.")
    contrastive: str | None = Field(
        None,
        description="Objective that aligns image and text; infonce for labelled datasets, grouped_infonce for captioned "
        "ones.",
    )
    temperature: float | None = Field(
        None,
        ge=0.01,
        description="Temperature of the contrastive objective, held all through training; learned when not given.",
    )
    continuous_weight: float = Field(0.5, ge=0, description="Weight of the continuous objective.")
    contrastive_weight: float = Field(
        0.1, ge=0, description="Weight of image-text alignment in the joint classifier."
    )
    decoder: Annotated[Decoder | None, ADDED_LATER] = Field(
        None,
        description="Captioned datasets: a head that writes captions from a photo's embedding, trained with the rest: 'gru' or "
        "'transformer'. None by default.",
    )
    caption_weight: Annotated[float, ADDED_LATER] = Field(
        0.3,
        gt=0,
        lt=1,
        description="With a decoder: weight of the decoder's loss; the losses of matching have what is left of 1, "
        "here 0.7.",
    )
    modality_dropout: float = Field(
        0.15,
        ge=0,
        lt=1,
        description="Labelled datasets: models of every family read every training batch twice, whole and with streams "
        "missing: this is the share of samples that lose a stream, each stream by its own draw and never all. 0 for once.",
    )
    accumulate: int = Field(
        1,
        ge=1,
        description="Parts in which a batch is computed, for less memory at a time; contrastive objectives then "
        "contrast within a part.",
    )
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = Field(
        "float32",
        description="Precision of training on CUDA: products of float32 in TF32, or autocast to 16 bits; elsewhere it is "
        "float32.",
    )
    seed: int = Field(0, ge=0, description="Seed of initialisation, order and dropout.")

    def without_decoder(self) -> Self:
        """The same where no captions are written."""
        fields = type(self).model_fields
        return self.model_copy(update={name: fields[name].default for name in ("decoder", "caption_weight")})

    def filled(self, defaults: Mapping[str, Any]) -> "TaskTraining":
        """The same with what was left open filled in."""
        given = {name: value for name, value in self if value is not None}
        return TaskTraining(**{**defaults, **given})


class TaskTraining(TrainingConfig):
    """The training loop on one task: what is left open in general is decided."""

    epochs: int
    patience: int
    batch_size: int
    learning_rate: float
    tries: int = 1
    contrastive: str = "infonce"

    @classmethod
    def of_finetuning(cls, config: FinetuneConfig) -> Self:
        """The loop that adapts encoders."""
        shared = {"epochs", "batch_size", "learning_rate", "weight_decay", "warmup", "seed"}
        return cls(**config.model_dump(include=shared), patience=config.epochs)

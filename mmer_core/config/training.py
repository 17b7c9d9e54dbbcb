"""Training the heads, and adapting encoders."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from mmer_core.config.base import Config


class TrainingConfig(Config):
    """The training loop."""

    epochs: int | None = Field(
        None,
        ge=1,
        description="Most passes over the training split; 30 for emotion datasets, 50 for captioned ones.",
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Epochs without a better validation metric before stopping; 5 for emotion datasets, 15 for "
        "captioned ones.",
    )
    batch_size: int | None = Field(
        None,
        ge=2,
        description="Samples a step, smaller where an epoch would have fewer than 8 steps; 512 for emotion datasets, "
        "256 photos for captioned ones.",
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="Peak learning rate of AdamW (cosine decay); 2e-3 for emotion datasets, 3e-3 for captioned "
        "ones.",
    )
    captions: int = Field(
        5,
        ge=1,
        description="Captioned datasets: most captions of a photo that are shown in one step; they are no negatives "
        "of one another.",
    )
    weight_decay: float = Field(1e-2, ge=0, le=1e6, description="Decoupled weight decay.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of all steps with a linear warm-up.")
    average: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="Decay of the exponential moving average of the weights, which is what is validated and kept; "
        "0 for the weights as they are.",
    )
    categories: Literal["bce", "focal", "asymmetric", "weighted_mse"] = Field(
        "bce", description="Objective of the emotion categories."
    )
    continuous: Literal["smooth_l1", "margin_l2"] = Field(
        "smooth_l1", description="Objective of valence, arousal and dominance."
    )
    category_weights: Literal["mean", "static", "dynamic"] = Field(
        "dynamic",
        description="Weights of the categories in weighted_mse: all the same, or more for the rare ones of "
        "the training split (static) or of the batch (dynamic).",
    )
    contrastive: Literal["infonce", "siglip", "triplet", "cosine_margin"] = Field(
        "infonce", description="Objective that aligns image and text."
    )
    temperature: float | None = Field(
        None,
        ge=0.01,
        description="Temperature of the contrastive objective, held all through training; learned when not given.",
    )
    hardness: float = Field(
        0.0,
        ge=0,
        description="Captioned datasets, infonce: the closer a negative, the more it counts, by the power of this; "
        "0 for all the same.",
    )
    continuous_weight: float = Field(0.5, ge=0, description="Weight of the continuous objective.")
    contrastive_weight: float = Field(
        0.1, ge=0, description="Weight of image-text alignment in the joint emotion model."
    )
    modality_dropout: float = Field(
        0.15,
        ge=0,
        lt=1,
        description="The joint emotion model reads every training batch twice, whole and with streams missing: "
        "this is the share of samples that lose a stream, each stream by its own draw and never all. 0 for once.",
    )
    accumulate: int = Field(
        1,
        ge=1,
        description="Parts in which a batch is computed, for less memory at a time; contrastive objectives then "
        "contrast within a part.",
    )
    seed: int = Field(0, ge=0, description="Seed of initialisation, order and dropout.")

    def filled(self, defaults: Mapping[str, float]) -> "TaskTraining":
        """The same with what was left open filled in."""
        given = {name: value for name, value in self.model_dump().items() if value is not None}
        return TaskTraining(**{**defaults, **given})


class TaskTraining(TrainingConfig):
    """The training loop on one task: what is left open in general is decided."""

    epochs: int
    patience: int
    batch_size: int
    learning_rate: float


class FineTuneConfig(Config):
    """Adapting an encoder's own weights to a dataset, before its features are cached."""

    method: Literal["lora", "last"] = Field(
        "lora",
        description="'lora': low-rank additions to the attention (Hu et al. 2021); 'last': the last block and what "
        "comes after it.",
    )
    towers: Literal["both", "image", "text"] = Field(
        "both", description="Encoders to adapt; the other stays as it is."
    )
    rank: int = Field(8, ge=1, description="Rank of the additions of lora.")
    alpha: float = Field(16.0, gt=0, description="The additions of lora are scaled by alpha / rank.")
    targets: tuple[str, ...] = Field(
        (),
        description="Names of the linear layers that lora adds to; by default an attention's queries and values.",
    )
    epochs: int = Field(
        3, ge=1, description="Passes over the training split; the best by validation is kept."
    )
    batch_size: int = Field(64, ge=2, description="Samples a step.")
    learning_rate: float = Field(
        1e-4, gt=0, le=1e6, description="Peak learning rate of AdamW (cosine decay)."
    )
    weight_decay: float = Field(1e-2, ge=0, description="Decoupled weight decay.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of all steps with a linear warm-up.")
    seed: int = Field(0, ge=0, description="Seed of initialisation, order and choice of captions.")

    def training(self) -> TaskTraining:
        """The same as parameters of the training loop."""
        fields = self.model_dump(
            include={"epochs", "batch_size", "learning_rate", "weight_decay", "warmup", "seed"}
        )
        return TaskTraining(**fields, patience=self.epochs)

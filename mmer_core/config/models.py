"""The trained part."""

from typing import Literal, Self

from pydantic import Field, model_validator

from mmer_core.base_config import Config

Family = Literal["separate", "joint", "zero-shot"]
FAMILIES: tuple[Family, ...] = ("separate", "joint")
Fusion = Literal["mean", "weighted", "gated", "concat", "attention"]


class PromptConfig(Config):
    """How a dual encoder is asked for labels without any training."""

    template: str = Field(
        "a photo of a person who feels {label}",
        description="Text that describes a category; {label} becomes its name in small letters.",
    )
    scores: Literal["softmax", "sigmoid"] = Field(
        "softmax",
        description="'softmax': categories compete for a photo, as in CLIP; 'sigmoid': each is judged alone, as in "
        "SigLIP.",
    )

    @model_validator(mode="after")
    def _template_asks_for_the_label(self) -> Self:
        if "{label}" not in self.template:
            raise ValueError("the template of a prompt must hold {label}")
        return self


class ModelConfig(Config):
    """The trained part: projections and heads on top of frozen features."""

    family: Family = Field(
        "joint",
        description="'separate': a space per modality; 'joint': one shared latent space; 'zero-shot': no training, "
        "the two towers of a dual encoder as they are.",
    )
    embedding: int | None = Field(
        None,
        ge=2,
        description="Embedding width; 256 for separate, 128 for joint models of labels, 512 for each head of joint retrieval.",
    )
    heads: int = Field(
        3,
        ge=1,
        description="Joint retrieval: projections of each modality that stand side by side in the embedding, each "
        "trained by itself.",
    )
    hidden: int = Field(
        512, ge=0, description="Width of the hidden layer of a projection; 0 for a linear one."
    )
    dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Dropout on features and hidden layers; 0.4 for labelled datasets, 0.5 for captioned ones.",
    )
    power: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Captioned datasets: exponent that evens out image features which are never negative; 1 for "
        "none.",
    )
    fusion: Fusion = Field(
        "mean",
        description="How the joint model of labels fuses the streams' embeddings: their mean, a mean weighted by "
        "stream, weighted anew for every sample (gated), a map of all side by side, or attention.",
    )
    start: Literal["random", "zero-shot"] = Field(
        "random",
        description="Joint retrieval on a dual encoder: 'zero-shot' starts from the towers' own similarity, with their "
        "width as embedding, and learns what to add to it.",
    )
    prompts: PromptConfig = Field(
        default=PromptConfig(), description="How the zero-shot family reads labels."
    )

    @model_validator(mode="after")
    def _starts_in_the_towers_space(self) -> Self:
        if self.start == "zero-shot" and self.embedding is not None:
            raise ValueError("a start from zero-shot has the width of the towers; leave out the embedding")
        return self

    def width(self, joint: int) -> int:
        """Embedding width, that of one head where there are several; ``joint`` is the joint model's by default."""
        if self.embedding is not None:
            return self.embedding
        return 256 if self.family == "separate" else joint

    @property
    def head_count(self) -> int:
        """Heads of the embedding, where a kind of task has several; only the joint model has, outside the towers' space."""
        return self.heads if self.family == "joint" and self.start == "random" else 1

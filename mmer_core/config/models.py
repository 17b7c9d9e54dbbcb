"""The trained part."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from mmer_core.base_config import Config

Family = Literal[
    "separate", "joint", "separate-weighted", "joint-late", "image-only", "text-only", "zero-shot"
]
FAMILIES: tuple[Family, ...] = ("separate", "joint")
Fusion = Literal["mean", "product", "weighted", "gated", "concat", "attention", "late"]


class Architecture(NamedTuple):
    """What one family is, so that two of them may differ in one thing.

    Attributes:
        network: Its embedding, and with the kind of task the name of its network: ``"separate"`` spaces, or one that is
            ``"joint"``.
        fusion: How streams become one prediction; None for what the configuration says.
        reads: The streams that it reads, where it does not read all.
    """

    network: Literal["separate", "joint", "zero-shot"]
    fusion: Fusion | None
    reads: tuple[str, ...] | None = None

    @property
    def sees(self) -> bool:
        """Whether it reads images."""
        return self.reads is None or "context" in self.reads


ARCHITECTURES: Mapping[Family, Architecture] = {
    "separate": Architecture("separate", "mean"),
    "joint": Architecture("joint", None),
    "separate-weighted": Architecture("separate", "weighted"),
    "joint-late": Architecture("joint", "late"),
    "image-only": Architecture("separate", "mean", ("context", "body")),
    "text-only": Architecture("separate", "mean", ("text",)),
    "zero-shot": Architecture("zero-shot", "mean"),
}


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
        description="'separate': a space per modality; 'joint': one shared latent space; for labelled datasets also "
        "'separate-weighted' (separate spaces, learned weights of the streams), 'joint-late' (a shared space, each stream "
        "predicting alone), 'image-only' and 'text-only'; 'zero-shot': no training, the two towers of a dual encoder.",
    )
    embedding: int | None = Field(
        None,
        ge=2,
        description="Embedding width; 128 for labelled datasets, 512 for each head of captioned ones.",
    )
    heads: int = Field(
        3,
        ge=1,
        description="Captioned datasets: projections of each modality that stand side by side in the embedding, each "
        "matched by itself.",
    )
    hidden: int = Field(
        512,
        ge=0,
        description="Width of the hidden layer of a projection of the joint model; other families get the width with "
        "which they have as many parameters. 0 for linear projections.",
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
    fusion: Fusion | None = Field(
        None,
        description="How the joint classifier fuses the streams' embeddings: by default their mean and the products of "
        "every two (product), which show what streams say together; their mean, a mean weighted by "
        "stream, weighted anew for every sample (gated), a map of all side by side, or attention; late: each stream learns "
        "to predict alone, and the mean of the predictions is the model's.",
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

    @property
    def head_count(self) -> int:
        """Heads of the embedding, where a kind of task has several; one in the towers' space."""
        return self.heads if self.start == "random" else 1

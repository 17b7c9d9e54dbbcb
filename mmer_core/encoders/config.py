"""Configuration of frozen encoders, and of their adaptation."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mmer_core.base_config import SPEED, Config
from mmer_core.encoders.registry import bare_name


class EncoderNames(Config):
    """Which frozen encoders turn pixels and text into features; `EncoderConfig` says what there is to choose from."""

    image: str
    image_size: int | None = Field(
        None,
        ge=32,
        le=1024,
        description="Input side in pixels of the image encoder; by default its native side, or 224 for packaged: "
        "encoders.",
    )
    text: str
    shard_size: Annotated[int | None, SPEED] = Field(
        None,
        ge=16,
        description="Images in one shard of features, and an eighth of the texts (resume unit); by default as many as "
        "take 20 to 40 seconds.",
    )

    @model_validator(mode="before")
    @classmethod
    def _packaged_read_prepared_images(cls, fields: Any) -> Any:
        """Convolutional networks accept any side and default to that of the prepared images; most transformers do not."""
        if not isinstance(fields, dict) or fields.get("image_size") is not None:
            return fields
        name = bare_name(str(fields.get("image", cls.model_fields["image"].default)))
        return fields | ({"image_size": 224} if name.startswith("packaged:") else {})

    def bare(self) -> Self:
        """The same encoders without prefixes."""
        return self.model_copy(update={"image": bare_name(self.image), "text": bare_name(self.text)})


class FinetuneConfig(Config):
    """Adapting an encoder's own weights to a dataset, before its features are cached."""

    method: Literal["lora", "last"] = Field(
        "lora",
        description="'lora': low-rank additions to the attention (Hu et al. 2021); 'last': the last block and everything "
        "after it.",
    )
    towers: Literal["both", "image", "text"] = Field(
        "both", description="Encoders to adapt; the other one stays unchanged."
    )
    rank: int = Field(8, ge=1, description="Rank of the additions of lora.")
    alpha: float = Field(16.0, gt=0, description="The additions of lora are scaled by alpha / rank.")
    targets: tuple[str, ...] = Field(
        (),
        description="Names of the linear layers that lora adds to; by default the attention's queries and values.",
    )
    epochs: int = Field(
        3, ge=1, description="Passes over the training split; the best by validation is kept."
    )
    batch_size: int = Field(64, ge=2, description="Samples per step.")
    learning_rate: float = Field(
        1e-4, gt=0, le=1e6, description="Peak learning rate of AdamW (cosine decay)."
    )
    weight_decay: float = Field(1e-2, ge=0, description="Decoupled weight decay.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of all steps with a linear warm-up.")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Precision of training on CUDA (autocast); elsewhere it is float32."
    )
    seed: int = Field(0, ge=0, description="Seed of initialisation, order and choice of captions.")
    processes: Annotated[int, SPEED] = Field(
        1,
        ge=1,
        description="Processes of this machine that share every batch, each on a GPU of its own; for several machines "
        "start the command with torchrun.",
    )

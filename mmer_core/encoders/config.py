"""Frozen encoders, by name, and how they are adapted."""

from typing import Any, Literal

from pydantic import Field, model_validator

from mmer_core.base_config import Config

WRAPPERS = ("mirror", "meanmax", "regions", "tokens")
"""What may stand in front of an encoder's name: other views or another pooling, with the same weights."""


def bare_name(encoder: str) -> str:
    """An encoder's name without what stands in front of it."""
    wrapper, _, inner = encoder.partition(":")
    return bare_name(inner) if wrapper in WRAPPERS else encoder


class EncoderConfig(Config):
    """The frozen encoders that turn pixels and text into features."""

    image: str = Field(
        "mirror:packaged:efficientnet_lite2",
        description="packaged:efficientnet_lite0|efficientnet_lite2, torchvision:ARCH@WEIGHTS_FILE, "
        "places365:FILE, hf:ID_OR_FOLDER, or adapted:ADAPTER (what mmer finetune made); mirror: in front averages every "
        "image with its mirror image; regions: in front of all gives 4 x 4 regions, which a captioned dataset's model "
        "pools by learned attention.",
    )
    image_size: int | None = Field(
        None,
        ge=32,
        le=1024,
        description="Input side in pixels of the image encoder; its native side when not given, 224 for packaged: "
        "ones.",
    )
    text: str = Field(
        "meanmax:packaged:all-MiniLM-L6-v2",
        description="packaged:all-MiniLM-L6-v2, hf:ID_OR_FOLDER, or adapted:ADAPTER; meanmax: in front gives mean and "
        "maximum over the tokens; tokens: in front gives the first 32, which a captioned dataset's model pools by "
        "learned attention.",
    )
    shard_size: int = Field(
        1024, ge=16, description="Images or texts in one shard of features (resume unit)."
    )

    @model_validator(mode="before")
    @classmethod
    def _packaged_read_prepared_images(cls, fields: Any) -> Any:
        """Convolutions take any side, so by default that of the prepared images; most transformers take but one."""
        if not isinstance(fields, dict) or fields.get("image_size") is not None:
            return fields
        name = bare_name(str(fields.get("image", cls.model_fields["image"].default)))
        return fields | ({"image_size": 224} if name.startswith("packaged:") else {})

    def bare(self) -> "EncoderConfig":
        """The same encoders without what stands in front of their names."""
        return self.model_copy(update={"image": bare_name(self.image), "text": bare_name(self.text)})


class FinetuneConfig(Config):
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

"""Configuration of the datasets that mmer draws."""

from pydantic import Field

from mmer_core.base_config import Config


class SyntheticConfig(Config):
    """The miniature dataset that mmer draws if no folder is given."""

    images: int = Field(1200, ge=30, description="Photos to draw, over all splits (70/10/20 %).")
    seed: int = Field(0, ge=0, description="Seed of the drawing; the same seed draws the same files.")
    shuffle_labels: bool = Field(
        False,
        description="Shuffle labels (or captions) among samples: a model must fall back to chance.",
    )

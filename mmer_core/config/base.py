"""What every configuration is."""

from typing import Literal

from mmer_core.named import Options

Split = Literal["train", "val", "test"]


class Config(Options):
    """Base of all configurations."""

"""Frozen encoders, with a description of all there are."""

from pydantic import Field

from mmer_core.encoders.config import EncoderNames
from mmer_core.encoders.registry import IMAGE_SOURCES, TEXT_SOURCES


class EncoderConfig(EncoderNames):
    """The frozen encoders that turn pixels and text into features."""

    image: str = Field(
        "mirror:packaged:efficientnet_lite2",
        description=f"Image encoder, a source and what it says after a colon. {IMAGE_SOURCES.listed}",
    )
    text: str = Field(
        "meanmax:packaged:all-MiniLM-L6-v2",
        description=f"Text encoder, written in the same way. {TEXT_SOURCES.listed}",
    )

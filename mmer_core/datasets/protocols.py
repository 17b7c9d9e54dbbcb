"""Protocols that reproduce older programs, and which of them decode and resize with OpenCV as those did."""

from typing import Literal

from pydantic import Field

from mmer_core.base_config import Config

Protocol = Literal["corrected", "mat2py", "notebook"]
NOTEBOOK = "notebook"
"""Flickr8k's protocol; the splits of the same name alone are `NOTEBOOK_SPLITS`."""
NOTEBOOK_SPLITS = "notebook splits"

_WITH_OPENCV = ("mat2py", NOTEBOOK)


class ProtocolOptions(Config):
    """The option of formats with such a protocol."""

    protocol: Protocol = Field(
        "corrected",
        description="'corrected', or as an older program did it: 'mat2py' (EMOTIC) clamps boxes to the (sometimes swapped) size "
        "in the annotations, as the reference converter does; 'notebook' (Flickr8k) also writes the arrays that the old "
        "notebooks load, one row per caption, to the folder notebook/, with their splits.",
    )


def with_opencv(protocol: str) -> bool:
    """Whether photos are decoded and resized by OpenCV, whose values no other library reproduces."""
    return protocol in _WITH_OPENCV

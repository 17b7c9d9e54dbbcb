"""Which pixels of a decoded photo belong to a sample, by protocol."""

import json
from dataclasses import dataclass

from mmer_core.datasets.boxes import Size, box_fault, clamp, clamp_mat2py, clamp_to_annotated
from mmer_core.datasets.sample import Box, Sample


@dataclass(frozen=True)
class Crop:
    """The region of a sample in its photo.

    Attributes:
        size: ``(width, height)`` for the CSV: decoded, or as annotated under ``mat2py``.
        box: The clamped box for the CSV.
        pixels: The box to crop from the decoded photo.
    """

    size: Size
    box: Box
    pixels: Box


@dataclass(frozen=True)
class Rejected:
    """Why a sample cannot be prepared: a short code, and one sentence for people."""

    reason: str
    detail: str


def crop_person(sample: Sample, decoded: Size, protocol: str) -> Crop | Rejected:
    """Clamp a sample's box to the picture; without a box, the crop is the whole picture."""
    if sample.box is None:
        whole = (0, 0, *decoded)
        return Crop(decoded, whole, whole)
    size, box, pixels = decoded, clamp(sample.box, decoded), clamp(sample.box, decoded)
    if protocol == "mat2py":
        size = _annotated(sample)
        box, pixels = clamp_mat2py(sample.box, size, decoded)
    if box is None or pixels is None:
        if fault := box_fault(sample.box):
            return Rejected("empty_box", f"the box {list(sample.box)} {fault}")
        within = f"{size[0]}x{size[1]}" + (f", decoded {decoded[0]}x{decoded[1]}" if size != decoded else "")
        return Rejected(
            "empty_box", f"nothing of the box {list(sample.box)} is inside the picture ({within})"
        )
    return Crop(size, box, pixels)


def box_to_read(sample: Sample, protocol: str) -> Box | None:
    """The box that becomes `Crop.pixels` once it is clamped to the decoded picture; None for the whole picture."""
    if sample.box is None or protocol != "mat2py":
        return sample.box
    return clamp_to_annotated(sample.box, _annotated(sample))


def _annotated(sample: Sample) -> Size:
    width, height = json.loads(sample.metadata["Image Size"])
    return width, height

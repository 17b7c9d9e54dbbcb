"""``mirror:<encoder>``: an image encoder's features, averaged over an image and its mirror image."""

from __future__ import annotations

from mmer_core.encoders.base import ImageEncoder
from mmer_core.encoders.parts import parts
from mmer_core.encoders.registry import encoder_identity, load_image_encoder
from mmer_core.encoders.source import ImageSource
from mmer_core.errors import EncoderError
from mmer_core.heavy import torch


def mirrored(encoder: ImageEncoder) -> ImageEncoder:
    """The encoder with `MirrorAverage`; everything else is unchanged.

    Raises:
        EncoderError: The encoder yields features of regions, which must not be averaged with mirrored ones.
    """
    if parts(encoder.name) > 1:
        raise EncoderError(
            f"{encoder.name} has features of regions; name it the other way round: regions:mirror:..."
        )
    return MirroredEncoder(encoder)


class MirroredEncoder(ImageEncoder):
    """An encoder with `MirrorAverage`.

    Attributes:
        view: The encoder of a single view.
    """

    def __init__(self, encoder: ImageEncoder) -> None:
        from mmer_core.encoders.networks.mirror import MirrorAverage

        module = MirrorAverage(encoder.module)
        super().__init__(f"mirror:{encoder.name}", module, encoder.preprocessing, encoder.width)
        self.view = encoder

    def to(self, device: torch.device) -> ImageEncoder:
        self.view.to(device)
        return super().to(device)


class Mirror(ImageSource):
    """`mirrored` of another encoder."""

    name = "mirror"
    summary = "ENCODER, averages every image with its mirror image"
    wraps = True

    def identity(self, spec: str) -> dict[str, str]:
        return {"views": "mirror", **encoder_identity(spec, "image")}

    def load(self, spec: str, size: int | None) -> ImageEncoder:
        return mirrored(load_image_encoder(spec, size))

"""``mirror:<encoder>``: an image encoder's features, averaged over an image and its mirror image."""

import torch
from torch import Tensor, nn

from mmer_core.encoders.base import ImageEncoder
from mmer_core.encoders.parts import parts
from mmer_core.encoders.registry import encoder_identity, load_image_encoder
from mmer_core.encoders.source import ImageSource
from mmer_core.errors import EncoderError


class MirrorAverage(nn.Module):
    """Mean of a network's features of images ``(B, 3, H, W)`` and of the same images mirrored left to right.

    The two-view part of the ten-crop features of Krizhevsky et al. 2012 (*ImageNet Classification with Deep
    Convolutional Neural Networks*). It averages out differences between left and right, which captions rarely
    mention, and costs two forward passes.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        # A single pass of 2 B images would not be faster, and may not fit into memory.
        return torch.stack([self.module(images), self.module(images.flip(-1))]).mean(dim=0)

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps ``(B, D, h, w)``, averaged in the same way, with positions aligned."""
        maps = self.module.maps
        return torch.stack([maps(images), maps(images.flip(-1)).flip(-1)]).mean(dim=0)  # type: ignore[operator]


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

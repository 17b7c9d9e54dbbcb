"""``ablation:<encoder>``: an image encoder that sees a few pixels of each image, drawn at random; one half of a defence.

A number after the colon is how many pixels are kept, 2000 by default: ``ablation:500:packaged:efficientnet_lite0``. The other
half is to decide by many drawings instead of one, `mmer_core.stages.certified`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmer_core.encoders.base import ImageEncoder, Preprocessing
from mmer_core.encoders.filters import Filter
from mmer_core.errors import EncoderError
from mmer_core.heavy import Tensor, inference_mode, nn, torch
from mmer_core.memory import Passes
from mmer_core.tracing import running

_SHARE = 2000 / 224**2
_PASS = 32  # drawings at once, whatever the batch size: features must not depend on it


class Ablation(Filter):
    """All pixels but a few, drawn at random, are replaced by the mean colour."""

    name = "ablation"
    summary = "[KEPT:]ENCODER, sees KEPT pixels of each image drawn at random, 2000 by default; a defence to certify"
    random = True
    default = 2000

    def fault(self, number: int) -> str:
        return "" if number >= 1 else "an ablation keeps 1 pixel or more"

    def network(self, number: int, preprocessing: Preprocessing) -> nn.Module:
        from mmer_core.encoders.networks.ablation import Ablation as Network

        area = preprocessing.size**2
        if number >= area:
            raise EncoderError(
                f"{self.name}:{number} keeps no fewer than all {area:,} pixels of the encoder's input; give "
                f"{self.name}:{max(1, round(_SHARE * area))}, the usual share"
            )
        return Network(number, preprocessing.mean, preprocessing.std)


def ablation_of(encoder: str) -> tuple[int, str] | None:
    """How many pixels ``ablation:...`` keeps, and the encoder behind it; None of an encoder with another name."""
    source, _, spec = encoder.partition(":")
    return (Ablation().number(spec), Ablation.inner(spec)) if source == Ablation.name else None


def ablated_features(
    encoder: ImageEncoder,
    image: npt.NDArray[np.uint8],
    kept: int,
    count: int,
    generator: np.random.Generator,
) -> Tensor:
    """``(count, D)`` float32, on the device: what an encoder sees in so many drawings of an image.

    Args:
        encoder: That is behind the ablation.
        image: ``(H, W, 3)`` at its input size.
        kept: Pixels of each drawing.
    """
    from mmer_core.encoders.networks.ablation import kept_pixels

    passes, found = Passes(), []
    with inference_mode(), running():
        pixels = encoder.normalise(image[None])
        for start in range(0, count, _PASS):
            masks = kept_pixels(generator, encoder.size, kept, min(_PASS, count - start)).to(encoder.device)
            found.append(passes(lambda part: encoder.module(_masked(pixels, part)).float(), masks))
    return torch.cat(found)


def _masked(pixels: Tensor, masks: Tensor) -> Tensor:
    return (pixels * masks).contiguous(memory_format=torch.channels_last)

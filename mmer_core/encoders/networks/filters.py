"""Filters in front of a network, as defences of its input. All are differentiable, so that attacks can know them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Filtered(nn.Module):
    """A network behind a filter that maps ``(B, 3, H, W)`` to the same shape."""

    def __init__(self, module: nn.Module, before: nn.Module) -> None:
        super().__init__()
        self.module, self.before = module, before

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.module(self.before(images))
        return features

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps of the filtered images."""
        return self.module.maps(self.before(images))  # type: ignore[operator]


class Median(nn.Module):
    """The median of each pixel's ``side x side`` neighbourhood, channel by channel; border pixels are repeated outwards.

    *Feature squeezing* of Xu, Evans & Qi 2018 (https://arxiv.org/abs/1704.01155). A median takes no notice of fewer than
    half of a window's pixels, whatever they are. The gradient is that of the pixel that is the median.

    Args:
        side: Odd, 3 or more.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        margin = self.side // 2
        padded = F.pad(images, (margin, margin, margin, margin), mode="replicate")
        return _median_of_nine(padded) if self.side == 3 else _median(padded, self.side)


def _median(padded: Tensor, side: int) -> Tensor:
    windows = padded.unfold(2, side, 1).unfold(3, side, 1)
    return windows.flatten(4).median(dim=-1).values


def _median_of_nine(padded: Tensor) -> Tensor:
    """Columns of three are sorted once for the three windows that they are in, about six times as fast."""
    rows = padded[:, :, :-2], padded[:, :, 1:-1], padded[:, :, 2:]
    low, middle, high = _least(*rows), _median_of_three(*rows), _most(*rows)
    return _median_of_three(
        _most(*_columns(low)), _median_of_three(*_columns(middle)), _least(*_columns(high))
    )


def _columns(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return rows[..., :-2], rows[..., 1:-1], rows[..., 2:]


def _least(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.minimum(torch.minimum(a, b), c)


def _most(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.maximum(torch.maximum(a, b), c)


def _median_of_three(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))


_BRIGHTNESS = """
16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99"""
_COLOUR = """
17 18 24 47 99 99 99 99  18 21 26 66 99 99 99 99  24 26 56 99 99 99 99 99  47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99"""
"""Steps of the coefficients at quality 50, ITU-T T.81, tables K.1 and K.2."""

_TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))
"""JFIF 1.02, from and to brightness and two differences of colour around 0."""


class Jpeg(nn.Module):
    """What is left of an image that is saved as a JPEG of some quality, its colours at full resolution, and read again.

    ITU-T T.81 without the coding, which loses nothing; steps by quality as in the Independent JPEG Group's library. As a defence
    Dziugaite, Ghahramani & Roy 2016 (https://arxiv.org/abs/1608.00853). What is rounded has the gradient of what is not
    (Athalye, Carlini & Wagner 2018, https://arxiv.org/abs/1802.00420), so that gradients see through the filter.

    Args:
        quality: 1 to 100.
        mean, std: ``(3,)`` of the input, normalised from 0..255.
    """

    mean: Tensor
    std: Tensor
    steps: Tensor
    cosines: Tensor
    to_ycc: Tensor
    to_rgb: Tensor

    def __init__(self, quality: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        table = torch.tensor([[int(step) for step in one.split()] for one in (_BRIGHTNESS, _COLOUR, _COLOUR)])
        steps = ((table * scale + 50) // 100).clamp(1, 255).view(3, 8, 8).float()
        place = torch.arange(8.0)
        cosines = torch.cos((2 * place + 1) * place[:, None] * torch.pi / 16) / 2
        cosines[0] /= 2**0.5
        buffers = {
            "mean": torch.tensor(mean).view(3, 1, 1),
            "std": torch.tensor(std).view(3, 1, 1),
            "steps": steps,
            "cosines": cosines,
            "to_ycc": torch.tensor(_TO_YCC).view(3, 3, 1, 1),
            "to_rgb": torch.tensor(_TO_RGB).view(3, 3, 1, 1),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        padded = F.pad(images, (0, -width % 8, 0, -height % 8), mode="replicate")
        levels = _rounded(F.conv2d(padded * self.std + self.mean, self.to_ycc))
        # 128 less of brightness changes the mean of its blocks only, and those of colour are around 0 already.
        shift = torch.zeros_like(self.mean)
        shift[0] = 128
        blocks = (levels - shift).unflatten(3, (-1, 8)).unflatten(2, (-1, 8))  # (B, 3, h, 8, w, 8)
        found = torch.einsum("uy,bchywx,vx->bchuwv", self.cosines, blocks, self.cosines)
        steps = self.steps[:, None, :, None]  # (3, 1, 8, 1, 8)
        kept = _rounded(found / steps) * steps
        back = torch.einsum("uy,bchuwv,vx->bchywx", self.cosines, kept, self.cosines)
        levels = _rounded(back.flatten(4, 5).flatten(2, 3) + shift)
        pixels = _rounded(F.conv2d(levels, self.to_rgb)).clamp(0, 255)[:, :, :height, :width]
        return (pixels - self.mean) / self.std


_HALVES = 2e-4
"""What is rounded is often a half exactly. It is rounded up, in whatever order a processor has summed it. Less than 1 / 2040, the
smallest step of a block's mean, so that nothing else is near."""


def _rounded(values: Tensor) -> Tensor:
    """To whole numbers, with the gradient of the values themselves."""
    return values + ((values + _HALVES).round() - values).detach()

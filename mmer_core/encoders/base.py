"""Encoders: frozen weights, always together with their preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mmer_core.encoders.steps import Steps
from mmer_core.evaluation_mode import evaluating
from mmer_core.heavy import Tensor, nn, torch
from mmer_core.memory import Passes
from mmer_core.memory_layout import channels_last
from mmer_core.text_lines import single_line
from mmer_core.tracing import running

Tokenize = Callable[[list[str]], dict[str, "Tensor"]]


@dataclass(frozen=True)
class Preprocessing:
    """Normalisation of pixels in 0..255 to the range that the weights were trained on: ``(x - mean) / std``.

    Attributes:
        size: Side of the square input, in pixels.
        mean, std: Per channel (RGB), on the 0..255 scale.
        interpolation: How images of other sizes are resized to the input.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


class Normalisation:
    """``(B, 3, h, w)`` float pixels in 0..255, on the device, to the encoder's input; differentiable."""

    def __init__(self, preprocessing: Preprocessing, device: torch.device) -> None:
        self._mean = torch.tensor(preprocessing.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(preprocessing.std, device=device).view(1, 3, 1, 1)

    def __call__(self, pixels: Tensor) -> Tensor:
        return (pixels - self._mean) / self._std


class ImageEncoder:
    """A frozen network that maps pixels to features.

    Args:
        name: The name under which it was loaded.
        module: Maps normalised ``(B, 3, H, W)`` float32 to ``(B, D)``.
        preprocessing: The preprocessing that belongs to the weights of ``module``.
        width: ``D``.

    Attributes:
        scale: Normalises float pixels on the encoder's device.
    """

    def __init__(self, name: str, module: nn.Module, preprocessing: Preprocessing, width: int) -> None:
        self.name = name
        self.preprocessing = preprocessing
        self.width = width
        # Channels-last runs depthwise convolutions about twice as fast on CPU, and suits tensor cores.
        self.module = channels_last(evaluating(module).requires_grad_(False))
        self.device = torch.device("cpu")
        self.scale = Normalisation(preprocessing, self.device)
        self._passes = Passes()

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the input in pixels: the resolution at which attacks change pixels."""
        return self.preprocessing.size, self.preprocessing.size

    def to(self, device: torch.device) -> ImageEncoder:
        self.module.to(device)
        self.device, self.scale = device, Normalisation(self.preprocessing, device)
        return self

    def resize(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Resize ``(B, H', W', 3)`` uint8 to this encoder's input, as uint8 (antialiased)."""
        if images.shape[1:3] == self.size:
            return images
        from torchvision.transforms.v2 import InterpolationMode
        from torchvision.transforms.v2.functional import resize

        # Copy, because torch warns about read-only memory maps.
        chw = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
        mode = InterpolationMode(self.preprocessing.interpolation)
        small = resize(chw, list(self.size), interpolation=mode, antialias=True)
        return small.permute(0, 2, 3, 1).contiguous().numpy()

    def encode(self, images: Tensor | npt.NDArray[np.uint8]) -> Tensor:
        """Encode ``(B, H, W, 3)`` uint8 RGB at the input size to ``(B, D)`` float32 on the device.

        Raises:
            ValueError: The images are not uint8 or not of the input size.
        """
        pixels = images if isinstance(images, torch.Tensor) else torch.from_numpy(np.array(images))
        with torch.inference_mode(), running():
            return self._passes(lambda part: self.module(self.normalise(part)).float(), pixels)

    def normalise(self, images: Tensor | npt.NDArray[np.uint8]) -> Tensor:
        """``(B, H, W, 3)`` uint8 to the input of ``module`` on the device; raises as `encode` does."""
        pixels = images if isinstance(images, torch.Tensor) else torch.from_numpy(np.array(images))
        if pixels.dtype != torch.uint8 or pixels.shape[1:] != (*self.size, 3):
            raise ValueError(
                f"{self.name} encodes uint8 images of shape {(*self.size, 3)}, "
                f"but got {pixels.dtype} of shape {tuple(pixels.shape[1:])}"
            )
        # NHWC memory viewed as NCHW is exactly the channels-last layout, so nothing is copied.
        return self.scale(pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float())


class TextEncoder:
    """A frozen network that maps texts to features.

    Args:
        name: The name under which it was loaded.
        module: Maps the tokenizer's tensors to ``(B, D)``.
        tokenize: Texts to padded, truncated tensors.
        width: ``D``.
    """

    def __init__(self, name: str, module: nn.Module, tokenize: Tokenize, width: int) -> None:
        self.name = name
        self.module = evaluating(module).requires_grad_(False)
        self.width = width
        self.tokenize = tokenize
        self.device = torch.device("cpu")
        self._passes = Passes()

    def to(self, device: torch.device) -> TextEncoder:
        self.module.to(device)
        self.device = device
        return self

    def tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """The input tensors ``(len(texts), L)`` of ``module``, padded and truncated, on the device.

        White space is collapsed to single blanks first, because some tokenizers have tokens for line breaks and runs.
        """
        lines = [single_line(text) for text in texts]
        return {name: tensor.to(self.device) for name, tensor in self.tokenize(lines).items()}

    def encode(self, texts: Sequence[str], batch_size: int = 128, steps: Steps | None = None) -> Tensor:
        """Encode texts to ``(len(texts), D)`` float32 on the CPU.

        Texts are batched by length, because padding costs as much as text, and repeated texts are encoded
        once; the result is in the order of the input.

        Args:
            steps: Keeps the features of distinct texts, by length, and reports progress.
        """
        texts = [single_line(text) for text in texts]
        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        row = {text: number for number, text in enumerate(distinct)}

        def encoded(start: int, stop: int) -> npt.NDArray[np.float32]:
            with torch.inference_mode(), running():
                found = self._passes(
                    lambda part: self.module(**self.tokens(part)).float(), distinct[start:stop]
                )
            return found.cpu().numpy()

        features = (steps or Steps()).rows(len(distinct), self.width, batch_size, encoded)
        return torch.from_numpy(features[[row[text] for text in texts]])

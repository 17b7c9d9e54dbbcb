"""Towers of Hugging Face models."""

from torch import Tensor

from mmer_core.encoders.architectures import image_features, patch_states, text_features
from mmer_core.encoders.networks.pooling import Pooling


class ImageTower(Pooling):
    def forward(self, pixels: Tensor) -> Tensor:
        return image_features(self.model, pixels)

    def maps(self, pixels: Tensor) -> Tensor:
        """The states of the patches, ``(B, D, h, w)``."""
        return patch_states(self.model, pixels)


class TextTower(Pooling):
    def forward(self, **tokens: Tensor) -> Tensor:
        return text_features(self.model, tokens)

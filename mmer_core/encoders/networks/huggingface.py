"""Towers of Hugging Face models."""

from torch import Tensor, nn

from mmer_core.encoders.architectures import image_features, patch_states, text_features


class ImageTower(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return image_features(self.model, pixels)

    def maps(self, pixels: Tensor) -> Tensor:
        """The states of the patches, ``(B, D, h, w)``."""
        return patch_states(self.model, pixels)


class TextTower(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **tokens: Tensor) -> Tensor:
        return text_features(self.model, tokens)

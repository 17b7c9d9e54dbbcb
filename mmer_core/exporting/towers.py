"""Encoder, trained part and calibration composed into single modules for deployment.

Outside of training, only this module knows how they fit together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmer_core.encoders import ImageEncoder, TextEncoder
from mmer_core.inference import TrainedModel
from mmer_core.models import RetrievalModel
from mmer_core.task_kinds import kind_of


@dataclass(frozen=True)
class Tower:
    """One file of an export.

    Attributes:
        name: Name of the file, without suffix.
        module: Takes ``*inputs`` by position: ``images`` as ``(B, H, W, 3)`` uint8 RGB at the encoder's input size, then
            ``tokens`` as ``(B, L)`` int64; returns a tuple with one ``(B, …)`` float32 tensor per output.
        images: Names of the image inputs.
        tokens: Names of the token inputs.
        outputs: Names of the outputs.
    """

    name: str
    module: nn.Module
    images: tuple[str, ...]
    tokens: tuple[str, ...]
    outputs: tuple[str, ...]


def towers(trained: TrainedModel, image: ImageEncoder, text: TextEncoder | None) -> Iterator[Tower]:
    """The towers of a trained model.

    A retrieval model has two, ``image`` and ``text``, whose unit embeddings are compared by inner product. A
    classifier has one of its task's name, say ``emotion``, from all its streams to calibrated probabilities and
    ratings, and, if it reads images and text, also ``emotion_image``, which works without it.
    """
    keys = tuple(text.tokens(["a"])) if text is not None else ()
    pixels = ImageFeatures(image)
    if kind_of(trained.spec.task).searchable:
        assert text is not None
        model = trained.retrieval_model
        # Networks have layers called "embedding", so outputs cannot use that name.
        yield Tower("image", _ImageTower(pixels, model), ("pixels",), (), ("image_embedding",))
        yield Tower("text", _TextTower(text.module, keys, model), (), keys, ("text_embedding",))
        return
    streams = tuple(trained.spec.sides)
    task, outputs = trained.spec.task, ("probabilities", *(("ratings",) if trained.spec.dimensions else ()))
    reader = _EmotionTower(trained, streams, pixels, text.module if text is not None else None, keys)
    yield Tower(task, reader, streams, keys, outputs)
    if text is not None and streams:
        alone = _EmotionTower(trained, streams, pixels, None, ())
        yield Tower(f"{task}_image", alone, streams, (), outputs)


class ImageFeatures(nn.Module):
    """Pixels ``(B, H, W, 3)`` uint8 to features ``(B, D)``, including the encoder's own preprocessing."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.module = encoder.module
        for name in ("mean", "std"):
            values = torch.tensor(getattr(encoder.preprocessing, name)).view(1, 3, 1, 1)
            self.register_buffer(name, values)

    def forward(self, pixels: Tensor) -> Tensor:
        nchw = pixels.permute(0, 3, 1, 2).float()
        features: Tensor = self.module((nchw - self.mean) / self.std)
        return features


class _ImageTower(nn.Module):
    def __init__(self, image: ImageFeatures, model: RetrievalModel) -> None:
        super().__init__()
        self.image, self.model = image, model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        (pixels,) = inputs
        return (self.model.embed_image(self.image(pixels)),)


class _TextTower(nn.Module):
    def __init__(self, text: nn.Module, keys: Sequence[str], model: RetrievalModel) -> None:
        super().__init__()
        self.text, self.keys, self.model = text, tuple(keys), model

    def forward(self, *tokens: Tensor) -> tuple[Tensor, ...]:
        return (self.model.embed_text(self.text(**dict(zip(self.keys, tokens, strict=True)))),)


class _EmotionTower(nn.Module):
    def __init__(
        self,
        trained: TrainedModel,
        streams: Sequence[str],
        image: ImageFeatures,
        text: nn.Module | None,
        keys: Sequence[str],
    ) -> None:
        super().__init__()
        self.streams, self.image, self.text, self.keys = tuple(streams), image, text, tuple(keys)
        self.model, self.scaling = trained.model, trained.scaling

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        images, tokens = inputs[: len(self.streams)], inputs[len(self.streams) :]
        features = {stream: self.image(pixels) for stream, pixels in zip(self.streams, images, strict=True)}
        if self.text is not None:
            features["text"] = self.text(**dict(zip(self.keys, tokens, strict=True)))
        output = self.model(features)
        probabilities = self.scaling.activation(self.scaling.calibrated(output.logits))
        return (probabilities, output.ratings) if output.ratings.shape[1] else (probabilities,)

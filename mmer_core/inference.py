"""A trained model with its calibration, applied to features of a split, a text or a photo."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmer_core import models
from mmer_core.errors import ConfigError
from mmer_core.evaluation.calibration import PlattScaling, TemperatureScaling
from mmer_core.heavy import Tensor, inference_mode, nn, torch
from mmer_core.memory import Passes
from mmer_core.models import ModelSpec, decoders
from mmer_core.tracing import running

CALIBRATION_FILE = "calibration.json"
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EmotionPrediction:
    """Calibrated ``probabilities`` ``(N, C)`` and ``ratings`` ``(N, V)``, and the raw output behind them."""

    probabilities: FloatArray
    ratings: npt.NDArray[np.float32]
    output: models.EmotionOutput


@dataclass(frozen=True)
class TrainedModel:
    """A model artifact's folder, opened on a device."""

    folder: Path
    model: nn.Module
    spec: ModelSpec
    device: torch.device

    @classmethod
    def open(cls, folder: Path, device: torch.device) -> TrainedModel:
        """Open a model's folder. Raises `ConfigError` if it is not a trained model."""
        model, spec = models.load_model(folder)
        return cls(folder, model.to(device), spec, device)

    @cached_property
    def _calibration(self) -> dict[str, Any]:
        return json.loads((self.folder / CALIBRATION_FILE).read_text())

    @cached_property
    def scaling(self) -> PlattScaling | TemperatureScaling:
        """From logits to probabilities, fitted on val: temperature scaling where exactly one category is predicted."""
        if self.exclusive:
            return TemperatureScaling(**self._calibration)
        return PlattScaling.from_dict({name: self._calibration[name] for name in ("slope", "intercept")})

    @property
    def exclusive(self) -> bool:
        """Whether the model predicts exactly one category."""
        return "temperature" in self._calibration

    def decisions(self, probabilities: FloatArray) -> npt.NDArray[np.bool_]:
        """``(N, C)``: which categories are predicted, from calibrated ``probabilities (N, C)``."""
        if self.exclusive:
            return np.eye(probabilities.shape[1], dtype=bool)[probabilities.argmax(axis=1)]
        return probabilities >= self.thresholds

    @cached_property
    def thresholds(self) -> FloatArray:
        """``(C,)`` probabilities from which on a category counts as present (best F1 on val).

        Raises:
            ConfigError: The model predicts exactly one category.
        """
        if self.exclusive:
            raise ConfigError(
                f"the model trained on {self.spec.dataset} predicts its most probable category and has no thresholds; "
                "ask whether the prediction changes"
            )
        return np.array(self._calibration["thresholds"])

    @inference_mode()
    def emotions(
        self, streams: dict[str, Tensor], present: models.Presence | None = None
    ) -> EmotionPrediction:
        """Predict from features by stream, each ``(N, D_stream)``. Streams may be missing for the whole batch (no key)
        or for single samples (``present`` is False)."""
        with running():
            output = self._emotion_model(_to(streams, self.device), _to(present or {}, self.device))
        probabilities = self.scaling.probabilities(output.logits.cpu().numpy())
        return EmotionPrediction(probabilities, output.ratings.cpu().numpy(), output)

    def calibrated_logits(self, streams: dict[str, Tensor], present: models.Presence | None = None) -> Tensor:
        """``(N, C)`` calibrated logits, the scores for attacks on emotions."""
        output: models.EmotionOutput = self._emotion_model(streams, present)
        return self.scaling.calibrated(output.logits)

    def ratings(self, streams: dict[str, Tensor], present: models.Presence | None = None) -> Tensor:
        """``(N, V)`` ratings on the dataset's scale, the scores for attacks on ratings."""
        output: models.EmotionOutput = self._emotion_model(streams, present)
        return output.ratings

    @inference_mode()
    def embed_images(self, streams: dict[str, Tensor]) -> npt.NDArray[np.float32]:
        """Features by image stream, each ``(N, D_stream)``, to ``(N, D)`` unit vectors of the shared space.

        Raises:
            ConfigError: The model has no such space.
        """
        model, seen = self.matcher, _to(streams, self.device)
        with running():
            vectors = (
                model.embed_image(seen)
                if isinstance(model, models.JointEmotionModel)
                else model.embed_image(seen["context"])
            )
        return vectors.float().cpu().numpy()

    @inference_mode()
    def embed_texts(self, features: Tensor) -> npt.NDArray[np.float32]:
        """``(T, D_text)`` features to ``(T, D)`` unit vectors of the shared space.

        Raises:
            ConfigError: The model has no such space, or reads no texts.
        """
        model = self.matcher
        self.check_reads_texts()
        with running():
            found = Passes()(lambda part: model.embed_text(part.to(self.device)).float(), features)
        return found.cpu().numpy()

    @property
    def writes_captions(self) -> bool:
        """Whether the model has a decoder."""
        return (self.folder / decoders.DECODER_FILE).is_file()

    @cached_property
    def decoder(self) -> decoders.CaptionDecoder:
        """What writes captions. Raises `ConfigError` if the model has no decoder."""
        return decoders.load_decoder(self.folder).to(self.device)

    @inference_mode()
    def captions(self, features: Tensor, beam: int) -> list[str]:
        """A caption for each photo, of its features ``(N, D_image)``.

        Args:
            beam: Captions of a photo that are followed at a time; 1 always takes the most probable word.

        Raises:
            ConfigError: The model has no decoder.
        """
        decoder = self.decoder
        with running():
            return decoders.write_captions(
                decoder, self.retrieval_model.own_image_embedding(features.to(self.device)), beam
            )

    @property
    def reads_texts(self) -> bool:
        """Whether texts are among what the model reads."""
        return "text" in self.spec.streams

    def check_reads_texts(self) -> None:
        """Raise `ConfigError` if texts are not among what the model reads."""
        if not self.reads_texts:
            raise ConfigError(
                f"the model of {self.spec.dataset} was trained without texts; give a photo, or the id of one"
            )

    @property
    def matcher(self) -> models.RetrievalModel | models.JointEmotionModel:
        """The model, if images and texts share a space in it.

        Raises:
            ConfigError: Every stream has a space of its own, as in the separate classifier.
        """
        if not isinstance(self.model, models.RetrievalModel | models.JointEmotionModel):
            raise no_shared_space(self.spec.family, self.spec.dataset)
        if isinstance(self.model, models.JointEmotionModel) and not self.spec.sides:
            raise ConfigError(
                f"the model of {self.spec.dataset} was trained without images, so there is nothing to match texts with"
            )
        return self.model

    @property
    def retrieval_model(self) -> models.RetrievalModel:
        """The model, if it is a retrieval model. Raises `ConfigError` otherwise."""
        if not isinstance(self.model, models.RetrievalModel):
            raise ConfigError(
                f"the model trained on {self.spec.dataset} predicts labels; give a retrieval model"
            )
        return self.model

    @property
    def _emotion_model(self) -> models.EmotionModel:
        if not isinstance(self.model, models.EmotionModel):
            raise ConfigError(f"the model trained on {self.spec.dataset} matches text; give a classifier")
        return self.model


def no_shared_space(family: str, dataset: str) -> ConfigError:
    """What is wrong with a model whose images and texts cannot be compared."""
    return ConfigError(
        f"the {family} model of {dataset} has no space that images and texts share, so there is nothing to search in: give "
        "a joint model (mmer runs lists those that are trained)"
    )


def _to(by_stream: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in by_stream.items()}

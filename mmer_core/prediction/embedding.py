"""Photos and texts in the latent space of a joint classifier."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from mmer_core.errors import ConfigError
from mmer_core.inference import TrainedModel
from mmer_core.models.emotion import JointEmotionModel
from mmer_core.prediction.photos import encode_squares, square
from mmer_core.stages.context import Context


@dataclass(frozen=True)
class LabelEmbedder:
    """Maps whole photos, and texts, to ``(n, D)`` unit vectors of one space.

    Raises:
        ConfigError: The model is no joint one: its streams share no space.
    """

    context: Context
    trained: TrainedModel

    def __post_init__(self) -> None:
        if not isinstance(self.trained.model, JointEmotionModel):
            raise ConfigError(
                f"the {self.trained.spec.family} model of {self.trained.spec.dataset} has no space that photos and texts "
                "share; load a joint model"
            )

    def photos(self, photos: Sequence[Image.Image]) -> npt.NDArray[np.float32]:
        spec = self.trained.spec
        encoder = self.context.image_encoder(spec.encoders.image, spec.encoders.image_size)
        streams = {
            stream: encode_squares(
                encoder, [square(photo, side, encoder) for photo in photos], self.context.runtime.batch_size
            )
            for stream, side in spec.sides.items()
        }
        return _array(self._joint.image(self.trained.emotions(streams).output.embeddings))

    def texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        spec = self.trained.spec
        if "text" not in spec.streams:
            raise ConfigError(f"the model of {spec.dataset} was trained without texts; embed photos")
        features = self.context.text_encoder(spec.encoders.text).encode(list(texts))
        return _array(self.trained.emotions({"text": features}).output.embeddings["text"])

    @property
    def _joint(self) -> JointEmotionModel:
        assert isinstance(self.trained.model, JointEmotionModel)
        return self.trained.model


def _array(vectors: Tensor) -> npt.NDArray[np.float32]:
    return vectors.float().cpu().numpy()

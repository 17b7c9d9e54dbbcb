"""Questions to what has been trained: search an index, read one photo."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image

from mmer_core.datasets.boxes import clamp
from mmer_core.datasets.photos import resized
from mmer_core.datasets.pixels import UnreadableImageError, read_rgb
from mmer_core.datasets.sample import Box
from mmer_core.encoders import ImageEncoder
from mmer_core.errors import ArtifactNotFound, ConfigError, DatasetError, StoreError
from mmer_core.inference import TrainedModel
from mmer_core.retrieval import Hit, RetrievalIndex
from mmer_core.retrieval.index import Target
from mmer_core.stages.context import Context
from mmer_core.store import ArtifactKey


@dataclass(frozen=True)
class Reading:
    """What an emotion model reads in one photo.

    Attributes:
        probabilities: Calibrated probability by category.
        present: Categories at or above their threshold.
        ratings: Valence, arousal and dominance, 1..10; empty where the model was trained without them.
    """

    probabilities: dict[str, float]
    present: tuple[str, ...]
    ratings: dict[str, float]

    def ranked(self) -> list[tuple[str, float, bool]]:
        """Categories by falling probability."""
        order = sorted(self.probabilities.items(), key=lambda item: -item[1])
        return [(name, probability, name in self.present) for name, probability in order]

    def to_dict(self) -> dict[str, object]:
        return {"probabilities": self.probabilities, "present": self.present, "ratings": self.ratings}


def search_index(
    context: Context,
    *,
    text: str | None,
    image: Path | None,
    target: str = "image",
    k: int = 10,
    index: str = "index",
) -> list[Hit]:
    """Search an index artifact by text or by photo, best result first.

    Raises:
        ConfigError: Neither or both of text and image are given, or the target is unknown.
        StoreError: There is no such index.
        DatasetError: The photo cannot be read.
    """
    if (text is None) == (image is None):
        raise ConfigError('give either a text or --image FILE: mmer search "two dogs in the snow"')
    if target not in ("image", "text"):
        raise ConfigError(f"target is {target!r}; search for 'image' or 'text'")
    artifact = context.artifact(_find_index(context, index))
    trained = _open(context, ArtifactKey.parse(artifact.manifest.inputs["model"]))
    encoders = trained.spec.encoders
    if text is not None:
        query = trained.embed_texts(context.text_encoder(encoders.text).encode([text]))
    else:
        encoder = context.image_encoder(encoders.image, encoders.image_size)
        query = trained.embed_images(
            _encode(encoder, _photo(cast(Path, image)), trained.spec.sides["context"])
        )
    return RetrievalIndex(artifact.folder).search(query, cast(Target, target), k)[0]


def predict_photo(
    context: Context,
    photo: Path,
    *,
    box: Box | None = None,
    text: str | None = None,
    model: str | None = None,
) -> Reading:
    """Read the emotion of the person in a box of a photo (of the whole photo without one).

    Raises:
        DatasetError: The photo cannot be read, or the box does not meet it.
        StoreError: There is no such model, or no emotion model at all.
    """
    picture = _photo(photo)
    trained = _open(context, context.store.find(model) if model else _newest_emotion_model(context))
    encoders = trained.spec.encoders
    encoder = context.image_encoder(encoders.image, encoders.image_size)
    streams: dict[str, torch.Tensor] = {}
    for stream, side in trained.spec.sides.items():
        shown = picture if stream == "context" else _crop(picture, box, photo)
        streams[stream] = _encode(encoder, shown, side)
    if text is not None and "text" in trained.spec.streams:
        streams["text"] = context.text_encoder(encoders.text).encode([text])
    predicted = trained.emotions(streams)
    labels, row = trained.spec.labels, predicted.probabilities[0]
    return Reading(
        probabilities={name: float(value) for name, value in zip(labels, row, strict=True)},
        present=tuple(np.array(labels)[row >= trained.thresholds].tolist()),
        ratings=dict(zip(trained.spec.dimensions, (float(v) for v in predicted.ratings[0]), strict=True)),
    )


def _open(context: Context, key: ArtifactKey) -> TrainedModel:
    return TrainedModel.open(context.folder(key), context.device)


def _find_index(context: Context, text: str) -> ArtifactKey:
    try:
        key = context.store.find(text)
    except ArtifactNotFound:
        raise ArtifactNotFound(
            f"{context.store.url} has no index {text!r}; build one first: mmer index or mmer pipeline"
        ) from None
    if key.kind != "index":
        raise ConfigError(f"{key} is no index; mmer artifacts ls index lists those that are there")
    return key


def _newest_emotion_model(context: Context) -> ArtifactKey:
    models = [m for m in context.store.list("model") if m.summary["task"] == "emotion"]
    if not models:
        raise StoreError(f"{context.store.url} holds no emotion model; train one first: mmer train")
    # Of the two families the joint one reads photo and text together, which is what a user asks for.
    return max(models, key=lambda m: (m.summary["family"] == "joint", m.created)).key


def _photo(path: Path) -> Image.Image:
    try:
        return read_rgb(path)
    except UnreadableImageError as error:
        raise DatasetError(f"cannot read the photo {path}: {error}") from None


def _crop(picture: Image.Image, box: Box | None, photo: Path) -> Image.Image:
    if box is None:
        return picture
    inside = clamp(box, picture.size)
    if inside is None:
        width, height = picture.size
        raise DatasetError(f"the box {box} lies outside {photo}, which has {width} x {height} pixels")
    return picture.crop(inside)


def _encode(encoder: ImageEncoder, picture: Image.Image, side: int) -> torch.Tensor:
    """Features ``(1, D)`` of a picture, by way of the same arrays that the model was trained on."""
    return encoder.encode(encoder.resize(resized(picture, side)[None])).cpu()

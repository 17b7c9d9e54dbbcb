"""Questions to an index: search it by text or by photo."""

from pathlib import Path
from typing import cast

from mmer_core.errors import ArtifactNotFound, ConfigError
from mmer_core.inference import TrainedModel
from mmer_core.prediction.photos import encode_squares, read_photo, square
from mmer_core.retrieval import Hit, RetrievalIndex
from mmer_core.retrieval.index import Target
from mmer_core.stages.context import Context
from mmer_core.store import ArtifactKey


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
        shown = square(read_photo(cast(Path, image)), trained.spec.sides["context"], encoder)
        query = trained.embed_images(encode_squares(encoder, [shown], batch_size=1))
    return RetrievalIndex(artifact.folder).search(query, cast(Target, target), k)[0]


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

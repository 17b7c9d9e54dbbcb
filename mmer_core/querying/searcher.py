"""An opened index artifact and the model that it was built with."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmer_core.errors import ConfigError
from mmer_core.inference import TrainedModel
from mmer_core.prediction.photos import encode_squares, read_photo, square
from mmer_core.querying.query import Query
from mmer_core.querying.spelling import MOST_IDS, Spellings
from mmer_core.retrieval import Filter, Hit, RetrievalIndex
from mmer_core.retrieval.index import Target
from mmer_core.retrieval.record import IndexSummary
from mmer_core.retrieval.side_table import RATINGS
from mmer_core.stages.context import Context
from mmer_core.stages.index import sources
from mmer_core.stages.update_index import find_index
from mmer_core.store import ArtifactKey

Vectors = npt.NDArray[np.float32]

_SHOWN = 200
"""Characters of an id shown in a message."""


class UnknownId(ConfigError):
    """The index holds no photo with this id."""


class Embedder(Protocol):
    """Maps queries to ``(n, D)`` unit vectors."""

    def texts(self, texts: Sequence[str]) -> Vectors: ...

    def photos(self, photos: Sequence[Image.Image]) -> Vectors:
        """Embed RGB pictures."""
        ...


@dataclass(frozen=True)
class ModelEmbedder:
    """A trained model in which images and texts share a space, and its encoders, which are loaded on first use.

    Raises:
        ConfigError: The model has no such space.
    """

    context: Context
    trained: TrainedModel

    def __post_init__(self) -> None:
        _ = self.trained.matcher

    def texts(self, texts: Sequence[str]) -> Vectors:
        self.trained.check_reads_texts()
        encoder = self.context.text_encoder(self.trained.spec.encoders.text)
        return self.trained.embed_texts(encoder.encode(list(texts)))

    def photos(self, photos: Sequence[Image.Image]) -> Vectors:
        """Embed whole photos: a model that reads people, too, takes the photo for the person."""
        names, batch_size = self.trained.spec.encoders, self.context.runtime.batch_size
        encoder = self.context.image_encoder(names.image, names.image_size)
        streams = {
            stream: encode_squares(encoder, [square(one, side, encoder) for one in photos], batch_size)
            for stream, side in self.trained.spec.sides.items()
        }
        return self.trained.embed_images(streams)


@dataclass(frozen=True)
class PhotoRecord:
    """Everything that the index holds about one photo."""

    id: str
    path: str | None
    split: str | None
    labels: tuple[str, ...]
    ratings: dict[str, float]
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Searcher:
    """An opened index; thread-safe.

    Attributes:
        key: Key of the artifact.
        dataset, split: What the index was first built of.
        prepared: Keys of the prepared datasets with the pictures, the latest one last.
    """

    key: str
    index: RetrievalIndex
    embedder: Embedder
    dataset: str | None = None
    split: str | None = None
    prepared: tuple[ArtifactKey, ...] = ()

    @classmethod
    def open(cls, context: Context, index: str = "index") -> "Searcher":
        """Open an index by its key, a prefix of it, or the newest one (``"index"``).

        Raises:
            StoreError: There is no such index.
            ConfigError: The artifact is not an index.
        """
        artifact = find_index(context, index)
        inputs, summary = artifact.manifest.inputs, artifact.manifest.summary_as(IndexSummary)
        trained = TrainedModel.open(context.folder_of(inputs["model"]), context.device)
        return cls(
            str(artifact.key),
            RetrievalIndex(artifact.folder),
            ModelEmbedder(context, trained),
            summary.dataset,
            summary.split,
            tuple(dict.fromkeys(source.prepared for source in sources(artifact))),
        )

    def vector_of(self, query: Query) -> Vectors:
        """``(1, D)`` unit vector of a query.

        Raises:
            ConfigError: Not exactly one field is given, or the index cannot return stored vectors.
            UnknownId: The index holds no such photo.
            DatasetError: The photo cannot be read.
        """
        query.checked()
        if query.text is not None:
            return self.embedder.texts([query.text])
        if query.image is not None:
            return self.embedder.photos([read_photo(query.image)])
        assert query.id is not None
        return self.vector_of_id(query.id)

    def vector_of_id(self, id: str) -> Vectors:
        """``(1, D)`` unit vector of a photo in the index. Raises as `vector_of` does."""
        if not self._records("image", id):
            raise self._unknown(id)
        return self.index.embedding_of("image", id)

    def search(self, vectors: Vectors, target: Target, k: int, only: Filter | None = None) -> list[list[Hit]]:
        """`RetrievalIndex.search`."""
        return self.index.search(vectors, target, k, only)

    def photo(self, id: str) -> PhotoRecord:
        """A photo with all its captions. Raises `UnknownId`."""
        records = self._records("image", id)
        if not records:
            raise self._unknown(id)
        first = records[0]
        captions = [record["caption"] for record in self.index.records("text", id)]
        return PhotoRecord(
            id,
            first.get("path"),
            first.get("split"),
            tuple(first.get("labels") or ()),
            ratings_of(first),
            tuple(filter(None, captions or [first["caption"]])),
        )

    def some(self, count: int = 20) -> list[Hit]:
        """A few photos of the index, always the same ones: the results for a fixed query."""
        nothing = np.zeros((1, self.index.width), np.float32)
        return self.index.search(nothing, "image", count)[0]

    def paths(self) -> list[str]:
        """Paths of a few photos, within the dataset."""
        return [hit.path for hit in self.some() if hit.path]

    @cached_property
    def spellings(self) -> Spellings:
        """The ids, indexed for finding similar ones; takes some 80 ms for 100,000 ids, once."""
        return Spellings(self.index.ids() if self.index.count("image") <= MOST_IDS else [])

    def _records(self, target: Target, id: str) -> list[dict[str, Any]]:
        try:
            id.encode()
        except UnicodeEncodeError:  # a lone surrogate, possible on a command line but not in a table
            return []
        return self.index.records(target, id)

    def _unknown(self, id: str) -> UnknownId:
        if not self.index.count("image"):
            return UnknownId(f"the index {self.key} holds 0 photos, so none with the id {id[:_SHOWN]!r}")
        like = [one for one in self.spellings.near(id) if len(one) <= _SHOWN]
        cure = f"near to it are {', '.join(like)}" if like else "mmer search --json shows ids"
        return UnknownId(f"the index holds no photo with the id {id[:_SHOWN]!r}; {cure}")


def checked_target(target: str) -> Target:
    """Return the target. Raises `ConfigError` unless it is ``image`` or ``text``."""
    if target in ("image", "text"):
        return cast(Target, target)
    raise ConfigError(f"target is {target!r}; search for 'image' or 'text'")


def ratings_of(record: dict[str, Any]) -> dict[str, float]:
    """The ratings in a side table's record, by name, without missing ones."""
    return {name: record[name] for name in RATINGS if record.get(name) is not None}

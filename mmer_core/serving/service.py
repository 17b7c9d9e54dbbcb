"""The state of the service: the opened index, the source of its pictures, and the embedding thread."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
from starlette.concurrency import run_in_threadpool

from mmer_core.querying import PhotoRoot, PreparedPictures, Searcher
from mmer_core.querying.searcher import Vectors
from mmer_core.retrieval import Hit
from mmer_core.retrieval.side_table import RATINGS
from mmer_core.serving.embedding import EmbeddingThread, Item
from mmer_core.serving.metrics import Metrics
from mmer_core.serving.questions import Options, SearchQuery, unit_vector
from mmer_core.serving.refusal import Refusal

MAX_OPEN = 64
"""Queries processed at a time; further ones get 503."""


@dataclass(frozen=True)
class IndexSnapshot:
    """An index and its pictures. A response uses one snapshot, even if another one is opened meanwhile.

    Attributes:
        root: The original photos, if available.
        prepared: Otherwise, the pictures of the prepared dataset.
    """

    searcher: Searcher
    root: PhotoRoot | None = None
    prepared: PreparedPictures | None = None

    def picture_url(self, id: str, path: str | None) -> str | None:
        """URL of a photo's picture; None if there is none."""
        if self.root is not None and path is not None and self.root.holds(path):
            return f"/images/{quote(path)}"
        if self.prepared is not None and self.prepared.holds(id):
            return f"/pictures?{urlencode({'id': id})}"
        return None

    @cached_property
    def about(self) -> dict[str, Any]:
        """The contents of the index, for the page's forms."""
        searcher = self.searcher
        return {
            "index": searcher.key,
            "dataset": searcher.dataset,
            "split": searcher.split,
            "images": searcher.index.count("image"),
            "texts": searcher.index.count("text"),
            "width": searcher.index.width,
            "examples": [hit.caption for hit in searcher.some(3) if hit.caption],
            "pictures": self.root is not None or self.prepared is not None,
            **searcher.index.choices("image"),
        }


class Service:
    """The current snapshot, and the number of open queries."""

    def __init__(self, snapshot: IndexSnapshot, most: int = MAX_OPEN) -> None:
        self.metrics = Metrics()
        self._most, self._open = most, 0
        self.closing = False
        self._embedding = EmbeddingThread(self.metrics)
        self.serve(snapshot)

    def serve(self, snapshot: IndexSnapshot) -> None:
        """Use this snapshot from now on; open queries finish with the one they started with."""
        snapshot.searcher.spellings  # noqa: B018  computed now, so that no request waits for it
        self.snapshot = snapshot
        index = snapshot.searcher.index
        self.metrics.opened(index.count("image"), index.count("text"))

    @property
    def ready(self) -> bool:
        return self._embedding.alive and not self.closing and self._open < self._most

    def close(self) -> None:
        """Finish open queries, then end the embedding thread."""
        self.closing = True
        self._embedding.close()

    @contextmanager
    def question(self) -> Iterator[None]:
        """Count one request as open. Raises `Refusal` (503) if there are too many."""
        if self._open >= self._most:
            raise Refusal(
                503, f"{self._open} questions are being answered; ask again in a second", retry_after=1
            )
        self._open += 1
        self.metrics.waiting.set(self._open)
        try:
            yield
        finally:
            self._open -= 1
            self.metrics.waiting.set(self._open)

    async def answer(self, queries: Sequence[SearchQuery], options: Options) -> dict[str, Any]:
        """The response to some queries as JSON. Raises `MmerError`."""
        snapshot = self.snapshot
        vectors = await asyncio.gather(*(self._vector(snapshot, one) for one in queries))
        return await run_in_threadpool(_answer, snapshot, [one.shown() for one in queries], vectors, options)

    async def answer_photo(self, photo: Item, options: Options) -> dict[str, Any]:
        """The same for a photo."""
        snapshot = self.snapshot
        vector = await self._embedding.embed(snapshot.searcher.embedder, photo)
        return await run_in_threadpool(
            _answer, snapshot, [{"image": "the photo that was sent"}], [vector], options
        )

    async def _vector(self, snapshot: IndexSnapshot, query: SearchQuery) -> Vectors:
        if query.text is not None:
            return await self._embedding.embed(snapshot.searcher.embedder, query.text)
        if query.id is not None:
            return await run_in_threadpool(snapshot.searcher.vector_of_id, query.id)
        return unit_vector(query.vector or (), snapshot.searcher.index.width)


def photo_answer(snapshot: IndexSnapshot, id: str) -> dict[str, Any]:
    """Everything known about a photo. Raises `UnknownId`."""
    record = snapshot.searcher.photo(id)
    return asdict(record) | {"image": snapshot.picture_url(id, record.path)}


def _answer(
    snapshot: IndexSnapshot, named: Sequence[dict[str, str]], vectors: Sequence[Vectors], options: Options
) -> dict[str, Any]:
    found = snapshot.searcher.search(np.concatenate(vectors), options.target, options.k, options.only)
    return {
        "index": snapshot.searcher.key,
        "target": options.target,
        "results": [
            {"query": query, "hits": [_hit(snapshot, hit) for hit in hits]}
            for query, hits in zip(named, found, strict=True)
        ],
    }


def _hit(snapshot: IndexSnapshot, hit: Hit) -> dict[str, Any]:
    fields = asdict(hit) | {"image": snapshot.picture_url(hit.id, hit.path)}
    # Unrated photos have no ratings, rated ones all three.
    return fields | {"ratings": dict(zip(RATINGS, hit.ratings, strict=False))}

"""One embedding thread for all requests: queries that arrive while it works share the next forward pass."""

import asyncio
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from PIL import Image

from mmer_core.querying.searcher import Embedder, Vectors
from mmer_core.serving.metrics import Metrics

Item = str | Image.Image


@dataclass(frozen=True)
class _Job:
    embedder: Embedder
    item: Item
    done: "Future[Vectors]" = field(default_factory=Future)

    @property
    def group(self) -> tuple[int, type]:
        """Jobs with the same group can share a forward pass: texts, or photos, for the same model."""
        return id(self.embedder), str if isinstance(self.item, str) else Image.Image


class EmbeddingThread:
    """Args:
    most: Maximal number of items per forward pass.
    """

    def __init__(self, metrics: Metrics, most: int = 16) -> None:
        self._metrics, self._most = metrics, most
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mmer-embedding", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    async def embed(self, embedder: Embedder, item: Item) -> Vectors:
        """``(1, D)`` unit vector of a text or a photo."""
        job = _Job(embedder, item)
        self._jobs.put(job)
        return await asyncio.wrap_future(job.done)

    def close(self) -> None:
        """Embed all waiting items, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (first := self._jobs.get()) is not None:
            jobs, ended = self._waiting(first)
            groups: dict[tuple[int, type], list[_Job]] = {}
            for job in jobs:
                groups.setdefault(job.group, []).append(job)
            for group in groups.values():
                self._embed([job for job in group if job.done.set_running_or_notify_cancel()])
            if ended:
                return

    def _waiting(self, first: _Job) -> tuple[list[_Job], bool]:
        jobs = [first]
        while len(jobs) < self._most:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
        return jobs, False

    def _embed(self, jobs: Sequence[_Job]) -> None:
        if not jobs:
            return
        try:
            with self._metrics.embedding(len(jobs)):
                vectors = _vectors(jobs[0].embedder, [job.item for job in jobs])
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].done.set_exception(error)
                return
            for job in jobs:  # retry one by one, so that a failing item does not affect the others
                self._embed([job])
            return
        for job, vector in zip(jobs, vectors, strict=True):
            job.done.set_result(vector[None])


def _vectors(embedder: Embedder, items: Sequence[Item]) -> Vectors:
    texts = [item for item in items if isinstance(item, str)]
    if texts:
        return embedder.texts(texts)
    return embedder.photos([item for item in items if not isinstance(item, str)])

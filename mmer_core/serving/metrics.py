"""Counters and timings of the service in Prometheus' text format."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """A registry of its own, so that several services in one process are counted separately."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        own: Any = {"registry": self._registry}
        ProcessCollector(**own)
        self._requests = Counter("mmer_requests", "Requests answered.", ("route", "method", "status"), **own)
        timed: Any = {"buckets": _SECONDS, **own}
        self._seconds = Histogram("mmer_request_seconds", "Time to the whole answer.", ("route",), **timed)
        self._embedding = Histogram("mmer_embedding_seconds", "One forward pass.", **timed)
        self._together = Histogram(
            "mmer_embedded_together", "Queries in one forward pass.", buckets=(1, 2, 4, 8, 16), **own
        )
        self.waiting = Gauge("mmer_questions_open", "Questions that are being answered.", **own)
        self._vectors = Gauge("mmer_index_vectors", "Vectors in the index.", ("target",), **own)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a response; routes and methods are existing ones, whatever the request contained."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def opened(self, images: int, texts: int) -> None:
        """Record the size of the index that is searched from now on."""
        self._vectors.labels("image").set(images)
        self._vectors.labels("text").set(texts)

    @contextmanager
    def embedding(self, together: int) -> Iterator[None]:
        """Measure one forward pass."""
        start = time.perf_counter()
        yield
        self._embedding.observe(time.perf_counter() - start)
        self._together.observe(together)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

"""Search effort: the smallest that reaches the required recall on held-out queries."""

import time
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from mmer_core.retrieval.ranking import Neighbours, Rows, recall
from mmer_core.retrieval.record import Quality

Vectors = npt.NDArray[np.float32]
Search = Callable[[Vectors, int], Rows]
"""``(queries (Q, D), effort)`` to the ``(Q, NEIGHBOURS)`` rows found."""

_UNTYPED: Any = faiss  # the stubs lack keywords and some classes of search parameters
_LARGEST_GRAPH_EFFORT = 4096
_TIMED = 200
_TUNED_AT_LEAST = 10


def effort_of(index: faiss.Index) -> tuple[str | None, int]:
    """The parameter that trades time for recall, and its largest useful value."""
    lists = faiss.try_extract_index_ivf(index)
    if lists is not None:
        return "nprobe", int(lists.nlist)
    bottom = _bottom(index)
    if isinstance(bottom, faiss.IndexHNSW):
        return "efSearch", max(16, min(_LARGEST_GRAPH_EFFORT, int(index.ntotal)))
    return None, 1


def search_parameters(
    index: faiss.Index, effort: int | None, only: faiss.IDSelector | None = None
) -> faiss.SearchParameters:
    """Search parameters for ``index.search``, nested for the transforms and the refinement around the index."""
    inner = faiss.downcast_index(index)
    if isinstance(inner, faiss.IndexPreTransform):
        return _UNTYPED.SearchParametersPreTransform(
            index_params=search_parameters(inner.index, effort, only), sel=only
        )
    if isinstance(inner, faiss.IndexRefine):
        base = search_parameters(inner.base_index, effort, only)
        return _UNTYPED.IndexRefineSearchParameters(k_factor=inner.k_factor, base_index_params=base, sel=only)
    if isinstance(inner, faiss.IndexIVFPQ):
        return _UNTYPED.IVFPQSearchParameters(nprobe=effort or inner.nprobe, sel=only)
    if isinstance(inner, faiss.IndexIVF):
        return _UNTYPED.SearchParametersIVF(nprobe=effort or inner.nprobe, sel=only)
    if isinstance(inner, faiss.IndexHNSW):
        return _UNTYPED.SearchParametersHNSW(efSearch=effort or inner.hnsw.efSearch, sel=only)
    return _UNTYPED.SearchParameters(sel=only)


def tune(index: faiss.Index, search: Search, queries: Vectors, exact: Neighbours, target: float) -> Quality:
    """The smallest effort whose recall@10 reaches ``target`` on every second query, measured on the others.

    Recall is almost monotonic in effort, so the effort is doubled until it suffices, and the last interval bisected.
    Without queries to measure, the search is exhaustive.

    Args:
        index: The index, from which the kind of parameter is derived.
        search: Searches it, including refinement.
        queries: ``(Q, D)`` held-out query vectors.
        exact: Their exact neighbours.
    """
    parameter, largest = effort_of(index)
    if not len(queries) or not index.ntotal:
        return Quality(
            parameter=parameter, effort=largest if parameter else None, queries=len(queries), reached=True
        )
    tuned, held = _halves(len(queries))
    effort: int | None = None
    reached = True
    if parameter is not None:
        effort, reached = least_effort(
            lambda value: recall(search(queries[tuned], value), _of(exact, tuned)) >= target, largest
        )
    started = time.perf_counter()
    found = search(queries[held], effort or 0)
    seconds = time.perf_counter() - started
    alone = [_seconds(search, query[None], effort or 0) for query in queries[held][:_TIMED]]
    return Quality(
        parameter=parameter,
        effort=effort,
        recall=recall(found, _of(exact, held)),
        queries=len(held),
        reached=reached,
        median_ms=1000 * float(np.median(alone)),
        p95_ms=1000 * float(np.percentile(alone, 95)),
        per_second=len(held) / seconds,
    )


def least_effort(enough: Callable[[int], bool], largest: int) -> tuple[int, bool]:
    """The smallest sufficient effort up to ``largest``, to within a sixteenth, and whether there is one."""
    low, high = 0, 1
    while not enough(high):
        if high >= largest:
            return largest, False
        low, high = high, min(2 * high, largest)
    while high - low > max(1, low // 16):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high, True


def _halves(queries: int) -> tuple[Rows, Rows]:
    every = np.arange(queries)
    return (every[::2], every[1::2]) if queries >= 2 * _TUNED_AT_LEAST else (every, every)


def _of(neighbours: Neighbours, queries: Rows) -> Neighbours:
    return Neighbours(neighbours.rows[queries], neighbours.scores[queries])


def _seconds(search: Search, query: Vectors, effort: int) -> float:
    started = time.perf_counter()
    search(query, effort)
    return time.perf_counter() - started


def _bottom(index: faiss.Index) -> faiss.Index:
    inner = faiss.downcast_index(index)
    if isinstance(inner, faiss.IndexPreTransform):
        return _bottom(inner.index)
    if isinstance(inner, faiss.IndexRefine):
        return _bottom(inner.base_index)
    return inner

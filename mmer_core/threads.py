"""Sharing the cores between shards that run at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from mmer_core.heavy import torch

_LOCK = threading.Lock()
_OWN = threading.local()


@cache
def _default() -> int:
    """torch's default number of threads: all cores, or OMP_NUM_THREADS. Read once, because while one shard runs, another
    thread would see that shard's share as the current number."""
    return torch.get_num_threads()


def share(workers: int) -> int:
    """Threads per worker, at least one."""
    with _LOCK:
        return max(1, _default() // workers)


def sharing() -> int:
    """How many workers run at the same time as this thread, itself included."""
    return getattr(_OWN, "workers", 1)


@contextmanager
def shared_cores(workers: int) -> Iterator[None]:
    """Limit torch in this thread to one worker's share of the threads, and restore what it had afterwards.

    Two forward passes on one core each use two cores better than two passes that compete for both.
    """
    before = sharing()
    if workers <= before:  # as one of several already
        yield
        return
    torch.set_num_threads(share(workers))
    _OWN.workers = workers
    try:
        yield
    finally:
        _OWN.workers = before
        torch.set_num_threads(share(before))

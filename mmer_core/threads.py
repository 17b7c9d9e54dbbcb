"""Sharing the cores between shards that run at the same time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def shared_cores(workers: int) -> Iterator[None]:
    """Let torch use one worker's share of the cores in this thread, and all of them again afterwards.

    One forward pass on one core each makes better use of two cores than two passes that fight for both.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers <= 1:
        yield
        return
    torch.set_num_threads(max(1, cores // workers))
    try:
        yield
    finally:
        torch.set_num_threads(cores)

"""Sharing the cores between shards that run at the same time."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# What torch uses when nobody shares: all cores, or what OMP_NUM_THREADS says. Read once, because while one
# shard runs, another thread sees that shard's part as the number in force.
_ALL = torch.get_num_threads()


def share(workers: int) -> int:
    """Threads for each of so many workers, at least one."""
    return max(1, _ALL // workers)


@contextmanager
def shared_cores(workers: int) -> Iterator[None]:
    """Let torch use one worker's share of its threads in this thread, and all of them again afterwards.

    One forward pass on one core each makes better use of two cores than two passes that fight for both.
    """
    if workers <= 1:
        yield
        return
    torch.set_num_threads(share(workers))
    try:
        yield
    finally:
        torch.set_num_threads(_ALL)

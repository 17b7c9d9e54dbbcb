"""A CUDA device for tests: a simulated one, or with MMER_GPU=1 a real one."""

from collections.abc import Iterator

import pytest
from support.on_device import on_device
from support.simulated_cuda import Counts


@pytest.fixture
def counts() -> Iterator[Counts]:
    """A device for one test, and what it was asked to do."""
    with on_device() as found:
        yield found

"""Sharing the cores among shards."""

import pytest
import torch

from mmer_core import threads
from mmer_core.threads import shared_cores

CORES = 4


@pytest.fixture(autouse=True)
def _a_machine_with_so_many_cores(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "_default", lambda: CORES)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("workers", [2, 3, 1000])
def test_a_worker_has_its_share_and_at_least_one(workers):
    with shared_cores(workers):
        assert torch.get_num_threads() == max(1, CORES // workers)
    assert torch.get_num_threads() == CORES
    with pytest.raises(KeyError), shared_cores(workers):
        raise KeyError
    assert torch.get_num_threads() == CORES


def test_a_single_worker_changes_nothing():
    torch.set_num_threads(3)
    with shared_cores(1):
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == 3


def test_work_inside_of_shared_work_leaves_its_share():
    with shared_cores(2):
        with shared_cores(2):
            assert torch.get_num_threads() == CORES // 2
        assert (torch.get_num_threads(), threads.sharing()) == (CORES // 2, 2)
        with shared_cores(4):
            assert (torch.get_num_threads(), threads.sharing()) == (1, 4)
        assert (torch.get_num_threads(), threads.sharing()) == (CORES // 2, 2)
    assert (torch.get_num_threads(), threads.sharing()) == (CORES, 1)

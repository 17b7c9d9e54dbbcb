"""Tables go to a device once, and copies do not make the host wait."""

import pytest
import torch
from support.on_device import CUDA, REAL
from support.simulated_cuda import Counts, simulated_cuda

from mmer_core.transfer import table_on, to_device


@pytest.mark.skipif(REAL, reason="a real device is not counted")
def test_a_table_is_copied_once_for_each_device_and_dtype(counts: Counts) -> None:
    table = torch.arange(4, dtype=torch.float64)
    before = counts.copy()
    copies = [table_on(table, CUDA, dtype) for dtype in (None, None, torch.float32, torch.float32)]
    assert [each.dtype for each in copies] == [torch.float64] * 2 + [torch.float32] * 2
    assert copies[0] is copies[1]
    assert copies[2] is copies[3]
    assert (counts.since(before).to_device, counts.since(before).waits) == (2, 0)
    assert copies[2].cpu().tolist() == table.tolist()
    assert table_on(table, torch.device("cpu")) is table


@pytest.mark.skipif(REAL, reason="a real CUDA device has float64")
def test_a_table_of_doubles_reaches_a_device_that_has_none() -> None:
    table = torch.arange(4, dtype=torch.float64)
    with simulated_cuda(float64=False):
        assert table_on(table, CUDA, torch.float32).cpu().tolist() == table.tolist()
        with pytest.raises(TypeError, match="float64"):
            to_device(table, CUDA)


def test_equal_tables_are_not_confused(counts: Counts) -> None:
    for number in range(20):  # each is gone, and its place in memory free, before the next is made
        table = torch.full((3,), float(number))
        assert table_on(table, CUDA).cpu().tolist() == [number] * 3
        del table

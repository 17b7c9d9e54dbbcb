"""The moving average of weights against its recursion written out, and its way into and out of a model."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mmer_core.training.averaging import WeightAverage

finite = st.floats(-100, 100, width=32)


@given(start=finite, steps=st.lists(finite, max_size=40), decay=st.floats(0.01, 0.999))
def test_the_average_is_that_of_the_recursion(start, steps, decay):
    weight = nn.Parameter(torch.tensor([start]))
    average = WeightAverage([weight], decay)
    expected = np.float64(start)
    for n, value in enumerate(steps, start=1):
        weight.data.fill_(value)
        average.update()
        share = min(decay, (1 + n) / (10 + n))
        expected = share * expected + (1 - share) * value
    with average.applied():
        assert weight.item() == pytest.approx(expected, rel=1e-4, abs=1e-3)
    assert weight.item() == (steps or [start])[-1]


def test_without_decay_the_weights_stay_what_they_are():
    weight = nn.Parameter(torch.tensor([1.0]))
    average = WeightAverage([weight], 0.0)
    weight.data.fill_(5.0)
    average.update()
    with average.applied():
        assert weight.item() == 5.0


def _fail_with_the_average_applied(average: WeightAverage) -> None:
    with average.applied():
        assert average.parameters[0].item() == 1.0
        raise RuntimeError("in the block")


def test_the_weights_come_back_after_an_error():
    weight = nn.Parameter(torch.tensor([1.0]))
    average = WeightAverage([weight], 0.9)
    weight.data.fill_(5.0)
    with pytest.raises(RuntimeError, match="in the block"):
        _fail_with_the_average_applied(average)
    assert weight.item() == 5.0


def test_a_restored_average_goes_on_bit_for_bit():
    torch.manual_seed(0)
    values = torch.randn(20, 3)
    weight = nn.Parameter(torch.zeros(3))
    whole = WeightAverage([weight], 0.9)
    for number, value in enumerate(values):
        weight.data.copy_(value)
        whole.update()
        if number == 9:
            saved = {"steps": whole.steps, "average": [tensor.clone() for tensor in whole.average]}
    other = nn.Parameter(torch.ones(3))
    resumed = WeightAverage([other], 0.9)
    resumed.load_state_dict(saved)
    for value in values[10:]:
        other.data.copy_(value)
        resumed.update()
    assert torch.equal(resumed.average[0], whole.average[0])
